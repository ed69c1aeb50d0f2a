"""The live feed and the few orders of `gateway top`, over the admin API."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from gateway.cli.remote import SECONDS, untrusted

PATH = "/admin/v1/live"
SILENCE_SECONDS = 40.0
"""The feed says something every 15 s; one that is silent for longer is gone."""
UNTOLD = "the gateway refused"


class Refused(Exception):
    """The gateway answered, and will not do it; the text is its own."""


class Away(Exception):
    """Nobody answers; the text says what to look at."""


@dataclass(frozen=True, slots=True)
class Line:
    """To one gateway. Every call raises Refused or Away."""

    url: str
    headers: Mapping[str, str]
    verify: ssl.SSLContext

    def open(self) -> httpx.AsyncClient:
        timeout = httpx.Timeout(SECONDS, read=SILENCE_SECONDS)
        return httpx.AsyncClient(
            base_url=self.url, headers=dict(self.headers), verify=self.verify, timeout=timeout, trust_env=False
        )

    async def events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Kind and data, until the gateway ends: then Away."""
        try:
            async with self.open() as http, http.stream("GET", PATH) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise Refused(why(await answer.aread()))
                async for told in parsed(answer.aiter_bytes()):
                    yield told
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise Away(self._away(fault)) from None
        raise Away(f"the gateway at {self.url} ended the feed")

    async def order(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            async with self.open() as http:
                answer = await http.post(path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise Away(self._away(fault)) from None
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise Refused(why(answer.content))
        done: dict[str, Any] = answer.json()
        return done

    def _away(self, fault: Exception) -> str:
        return untrusted(fault) or f"no gateway answers at {self.url}; give its address with --url"


async def parsed(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Server-sent events of one data line each; comments are passed over."""
    rest = b""
    async for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
            if b"event" in fields:
                yield fields[b"event"].decode(), json.loads(fields[b"data"])


def why(body: bytes) -> str:
    """What an error answer says; a stranger's page says nothing."""
    try:
        said = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return UNTOLD
    return str(said)
