"""The pictures that are sent along with a request, wherever they are in it: got hold of, and checked."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.edge.fetching import Fetching
from gateway.edge.pictures import NotAPicture, look
from gateway.errors import InvalidRequest, UpstreamFault
from gateway.settings import Settings
from gateway.upstreams.client import TooLong
from gateway.upstreams.dialects.media_endpoints import ROLES
from gateway.upstreams.dialects.ordering import Picture
from gateway.upstreams.fetch import FetchRefused

THREADED = 256 << 10
"""From so many bytes on they are looked through beside the event loop: that takes up to 100 ms."""
_MOST_DEEP = 4
_URLS = ("http://", "https://")
_LONGEST_SCHEME = 8
_DATA, _BASE64 = "data:", ";base64,"
_KEYS = ("image_url", "url", "b64_json", "data")
"""Of an object that stands for a picture."""
T = TypeVar("T")


async def beside(size: int, work: Callable[[], T]) -> T:
    return work() if size < THREADED else await asyncio.to_thread(work)


@dataclass(frozen=True, slots=True)
class Gathering:
    """`most_pixels` of a picture, `most_bytes` of one that is fetched; `fetching`: who goes to addresses; None:
    nobody. `allow_private` as in `upstreams/fetch.py`. `stays`: a demand is on the data, and an address is part of it:
    nobody is asked for it. Everything raises InvalidRequest, naming the field, and what `fetching` does."""

    most_pixels: int
    most_bytes: int
    fetching: Fetching | None = None
    allow_private: bool = False
    stays: bool = False

    @classmethod
    def of(cls, settings: Settings, fetching: Fetching | None = None) -> Gathering:
        fetches = fetching if settings.image_urls == "fetch" else None
        return cls(settings.image_pixels, settings.max_body_bytes, fetches)

    async def checked(self, name: str, data: bytes) -> Picture:
        """A picture that came in the field `name`."""
        try:
            seen = await beside(len(data), lambda: look(data, self.most_pixels))
        except NotAPicture as fault:
            raise InvalidRequest(f"`{name}` {fault}", param=name) from None
        return Picture(data=data, media_type=seen.media_type, role=ROLES.get(name, "image"))

    async def of_text(self, name: str, text: str) -> Picture:
        """One that is a text: base64, a data URL or an address."""
        if is_address(text):
            return await self.checked(name, await self._fetched(name, text))
        if text[: len(_DATA)].lower() == _DATA:
            _, mark, text = text.partition(_BASE64)
            if not mark:
                raise InvalidRequest(f"`{name}`: a data URL must be in base64", param=name)
        try:
            data = await beside(len(text), lambda: b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise InvalidRequest(f"`{name}` must be a picture: base64, or a data URL", param=name) from None
        return await self.checked(name, data)

    async def _fetched(self, name: str, url: str) -> bytes:
        if self.fetching is None or self.stays:
            why = ", which is not gone to under a residency demand" if self.fetching is not None else ""
            said = f"is an address{why}; send the picture itself, as a data URL or a file"
            raise InvalidRequest(f"`{name}` {said}", param=name)
        try:
            got = await self.fetching.get(url, most=self.most_bytes, allow_private=self.allow_private)
        except TooLong:
            raise InvalidRequest(f"`{name}`: the picture has more than {self.most_bytes} bytes", param=name) from None
        except FetchRefused as fault:
            raise InvalidRequest(f"`{name}`: the address is not fetched: {fault.message}", param=name) from None
        except UpstreamFault:
            raise InvalidRequest(f"`{name}`: there is no picture to be had at that address", param=name) from None
        return got.data


def is_address(text: str) -> bool:
    return text[:_LONGEST_SCHEME].lower().startswith(_URLS)


def texts_of(value: Any, name: str, deep: int = 0) -> Iterator[str]:
    """The pictures of the field `name`: texts, objects that have one, lists of these. Raises InvalidRequest."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and deep < _MOST_DEEP:
        for one in value:
            yield from texts_of(one, name, deep + 1)
    elif isinstance(value, dict) and "file_id" in value:
        raise InvalidRequest(f"`{name}`: this gateway keeps no files; send the picture itself", param=name)
    elif isinstance(value, dict) and deep < _MOST_DEEP and any(key in value for key in _KEYS):
        for key in _KEYS:
            if key in value:
                yield from texts_of(value[key], name, deep + 1)
    elif value is not None:
        raise InvalidRequest(f"`{name}` must be a picture: base64, or a data URL", param=name)


def swapped(value: Any, fetched: Mapping[str, Picture]) -> Any:
    """The field with a data URL for each address that was fetched."""
    if isinstance(value, str):
        return _data_url(fetched[value]) if value in fetched else value
    if isinstance(value, list):
        return [swapped(one, fetched) for one in value]
    if isinstance(value, dict):
        return {key: swapped(one, fetched) if key in _KEYS else one for key, one in value.items()}
    return value


def _data_url(picture: Picture) -> str:
    return f"{_DATA}{picture.media_type}{_BASE64}{binascii.b2a_base64(picture.data, newline=False).decode()}"
