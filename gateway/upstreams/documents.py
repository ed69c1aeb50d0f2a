"""Small public documents of others, such as the keys of an issuer of tokens: GET, no proxy, no redirect, no
compression, bounded."""

from __future__ import annotations

import asyncio
import ssl

import httpx

from gateway.errors import BadAnswer, ConnectFailed

SECONDS = 5.0
MOST_BYTES = 256 << 10
_NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError, OverflowError, ExceptionGroup)
"""The last three for addresses that nobody can have, such as port 99999, `xn--` or half a surrogate pair."""


class Documents:
    """One per process. TLS is verified against the system's authorities (`SSL_CERT_FILE` names others)."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def fetch(self, url: str) -> bytes:
        """Raises UpstreamFault, whose message names neither host nor content."""
        if self._client is None:
            self._client = await asyncio.to_thread(_client)  # reading all authorities takes some 20 ms
        try:
            async with asyncio.timeout(SECONDS), self._client.stream("GET", url) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise BadAnswer(f"its answer has status {answer.status_code}")
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise BadAnswer("its answer is compressed, which nobody asked for")
                whole = bytearray()
                async for piece in answer.aiter_raw():  # as it comes, or a small answer could grow past the bound
                    whole += piece
                    if len(whole) > MOST_BYTES:
                        raise BadAnswer(f"its answer is longer than {MOST_BYTES >> 10} KiB")
                return bytes(whole)
        except _NO_ANSWER as fault:
            raise ConnectFailed(f"it does not answer ({type(fault).__name__})") from None

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"Accept-Encoding": "identity"},
        trust_env=False,
        follow_redirects=False,
        timeout=SECONDS,
        verify=ssl.create_default_context(),
    )
