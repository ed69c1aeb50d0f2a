"""Addresses of pictures, sound and films inside a conversation that one of our own workers may read.

Engines fetch such addresses themselves, from inside our network: whoever writes one could have anything fetched that
only the inside can reach. So a worker sees none but what was looked at here (docs/media.md, ADR 41). A bought API
fetches from its own network and guards itself: what no worker of ours may serve stays as it came.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Raw

from gateway.edge.fetching import Fetching
from gateway.edge.gathering import Gathering, beside, is_address
from gateway.errors import InvalidRequest, UpstreamFault
from gateway.model import Model, Policy
from gateway.settings import Settings
from gateway.upstreams.client import TooLong
from gateway.upstreams.dialects.endpoint import ADDRESSED, Kind
from gateway.upstreams.fetch import Fetched, FetchRefused

Words = Literal["fetch", "check", "refuse"]
FIELDS = ("messages", "input")
"""Where a conversation is: in Chat Completions and Messages, in Responses and embeddings."""
MOST = 16
"""Addresses in one request, as for pictures that are sent along."""
_SAID_BY_MODELS, _ARGUMENTS = ("tool_use", "server_tool_use"), "input"
"""Anthropic's blocks in which a model's own arguments lie as JSON: no engine looks for pictures there. In what else
such a block holds one may: vLLM drops a `type` that it does not know and reads the other keys."""
_any = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Guard:
    """`words`: the setting GATEWAY_CHAT_URLS. Everything raises InvalidRequest, naming the field, and what `fetching`
    does."""

    words: Words
    gathering: Gathering
    fetching: Fetching

    @classmethod
    def of(cls, settings: Settings, fetching: Fetching) -> Guard:
        return cls(settings.chat_urls, Gathering.of(settings), fetching)

    async def guarded(self, fields: Mapping[str, Raw], *, stays: bool) -> Mapping[str, Raw]:
        """The fields as a worker of ours may have them: the same where no address is in them. `stays`: a demand is on
        the data, and the address is part of it: nobody is asked for it."""
        made, left, most = dict(fields), MOST, self.gathering.most_bytes
        for name in FIELDS:
            if name not in fields:
                continue
            value, places = await _read(fields[name], name)
            left -= len(places)
            if left < 0:
                raise InvalidRequest(f"`{name}` holds more than {MOST} addresses", param=name)
            for place in places:
                most -= await self._settle(place, name, most, stays=stays)
            if places and self.words == "fetch":
                made[name] = Raw(msgspec.json.encode(value))
        return made

    async def _settle(self, place: Place, name: str, most: int, *, stays: bool) -> int:
        """Puts what lies there in its place; how many bytes that has."""
        if not is_address(place.text):
            raise place.refused(name, "must be a data URL, or an http or https address")
        if self.words == "refuse" or stays:
            why = " under a residency demand" if stays else ""
            raise place.refused(name, f"is an address, which is not gone to{why}: send the data itself, as a data URL")
        try:
            if self.words == "check":
                await self.fetching.check(place.text, allow_private=self.gathering.allow_private)
                return 0
            got = await self.fetching.get(place.text, most=most, allow_private=self.gathering.allow_private)
        except TooLong:
            raise place.refused(name, "leads to more than a request may have") from None
        except FetchRefused as fault:
            raise place.refused(name, f"is an address that is not gone to: {fault.message}") from None
        except UpstreamFault:
            raise place.refused(name, "leads to nothing that can be had: redirects are not followed") from None
        place.put(await self._kind(place, name, got), got.data)
        return len(got.data)

    async def _kind(self, place: Place, name: str, got: Fetched) -> str:
        """Its media type: of a picture by its bytes, which are looked through; else as its server says."""
        if place.kind == "image":
            return (await self.gathering.checked(name, got.data)).media_type
        if place.kind == "file" or not got.media_type.startswith(f"{place.kind}/"):
            raise place.refused(name, f"leads to no {place.kind} that is fetched: send the data itself")
        return got.media_type


def may_be_read_here(policy: Policy, model: Model | None) -> bool:
    """Whether a worker of ours may serve it."""
    return model is not None and any(policy.kind(served.backend) == "local" for served in model.served_by)


class Place(NamedTuple):
    """Where an address is. Anthropic has it as a `source` of type `url`, which holds data in other keys."""

    holder: dict[str, Any]
    key: str
    kind: Kind
    source: bool = False

    @property
    def text(self) -> str:
        text: str = self.holder[self.key]
        return text

    @property
    def is_data(self) -> bool:
        return not self.source and self.text[:5].lower() == "data:"

    def put(self, media_type: str, data: bytes) -> None:
        text = b64encode(data).decode()
        if self.source:
            del self.holder[self.key]
            self.holder.update(type="base64", media_type=media_type, data=text)
        else:
            self.holder[self.key] = f"data:{media_type};base64,{text}"

    def refused(self, name: str, why: str) -> InvalidRequest:
        return InvalidRequest(f"`{name}`: its `{self.key}` {why}", param=name)


async def _read(raw: Raw, name: str) -> tuple[Any, list[Place]]:
    """The field, and the places in it that hold no data: no more of them than show that there are too many."""

    def read() -> tuple[Any, list[Place]]:
        value = _any.decode(raw)
        return value, list(islice(found(value), MOST + 1))

    try:
        return await beside(len(memoryview(raw)), read)
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{name}` is not valid JSON", param=name) from None
    except RecursionError:
        raise InvalidRequest(f"`{name}` is nested too deeply", param=name) from None


def found(value: Any, kind: Kind = "image") -> Iterator[Place]:
    """Where an engine would take a text for an address, wherever that is; what is a data URL is none."""
    if isinstance(value, list):
        for one in value:
            if isinstance(one, list | dict):
                yield from found(one)
    elif isinstance(value, dict):
        said = value.get("type")
        inner: Kind = "file" if said == "document" else "image"
        if said == "url" and isinstance(value.get("url"), str):
            yield Place(value, "url", kind, source=True)
        for key, one in value.items():
            if (place := _place(value, key, one)) is not None:
                if not place.is_data:
                    yield place
            elif isinstance(one, list | dict) and not (key == _ARGUMENTS and said in _SAID_BY_MODELS):
                yield from found(one, inner)


def _place(holder: dict[str, Any], key: str, value: Any) -> Place | None:
    """Whether an engine takes what is under this key for an address."""
    if key not in ADDRESSED:
        return None
    if isinstance(value, str):
        return Place(holder, key, ADDRESSED[key])
    if isinstance(value, dict) and isinstance(value.get("url"), str):
        return Place(value, "url", ADDRESSED[key])
    return None
