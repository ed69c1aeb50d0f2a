"""Messages to an address of the operator's choice: signed, tried again a few times, never on a request's path.

The signature is that of Standard Webhooks 1.0: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`. A message that
is sent again has the same id, by which its receiver knows it.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable, Sequence

from gateway.errors import UpstreamFault
from gateway.model import Timeouts
from gateway.upstreams import fetch
from gateway.upstreams.client import Client

PAUSES = (1.0, 5.0, 20.0)
"""Seconds before each further try."""
TIMEOUTS = Timeouts(connect=2.0, first_byte=10.0, idle=10.0, total=15.0)
_ENCODED = "whsec_"
"""Standard Webhooks: what follows is the secret in base64."""


class Webhooks:
    """`now` is seconds since the epoch."""

    def __init__(
        self,
        client: Client,
        secret: str | None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._client, self._now, self._sleep, self._pauses = client, now, sleep, pauses
        self._secret = None if secret is None else secret_bytes(secret)

    async def post(self, url: str, id: str, body: bytes) -> bool:
        """Whether it was taken: answered 2xx. A redirect is no such answer, and is not followed."""
        for pause in (*self._pauses, None):
            if await _taken(self._client.post(url, headers(self._secret, id, int(self._now()), body), body, TIMEOUTS)):
                return True
            if pause is not None:
                await self._sleep(pause)
        return False


async def post_once(url: str, id: str, body: bytes, secret: str, *, at: int, allow_private: bool) -> bool:
    """Whether an address of a caller's choice took it: a guarded one, unless the operator allows its host. `at`:
    seconds since the epoch."""
    made = headers(secret_bytes(secret), id, at, body)
    return await _taken(fetch.post(url, made, body, seconds=TIMEOUTS.total or 0.0, allow_private=allow_private))


async def _taken(status: Awaitable[int]) -> bool:
    try:
        return 200 <= await status < 300
    except UpstreamFault:
        return False


def headers(secret: bytes | None, id: str, at: int, body: bytes) -> list[tuple[bytes, bytes]]:
    """`at`: seconds since the epoch."""
    made = [(b"content-type", b"application/json"), (b"webhook-id", id.encode()), (b"webhook-timestamp", b"%d" % at)]
    if secret is not None:
        made.append((b"webhook-signature", b"v1," + signature(secret, id, at, body)))
    return made


def signature(secret: bytes, id: str, at: int, body: bytes) -> bytes:
    """Base64 of the MAC; `at` is seconds since the epoch."""
    return b64encode(hmac.digest(secret, b"%s.%d.%s" % (id.encode(), at, body), "sha256"))


def secret_bytes(secret: str) -> bytes:
    """One that begins with `whsec_` is base64; any other is taken as it is."""
    if secret.startswith(_ENCODED):
        try:
            return b64decode(secret.removeprefix(_ENCODED), validate=True)
        except NotBase64:
            pass
    return secret.encode()
