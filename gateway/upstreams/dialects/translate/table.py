"""Which endpoints have a twin in the other API, and one request on its way there and back.

Pure: nothing here sends, waits or looks at a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.model import GenRequest, Obstacle, Reworded, Upstream
from gateway.upstreams.dialects.anthropic import MESSAGES
from gateway.upstreams.dialects.endpoint import Endpoint
from gateway.upstreams.dialects.openai import CHAT
from gateway.upstreams.dialects.translate import answers_to_chat, answers_to_messages, errors
from gateway.upstreams.dialects.translate.requests_to_chat import thinks, to_chat
from gateway.upstreams.dialects.translate.requests_to_messages import to_messages
from gateway.upstreams.dialects.translate.shapes import given
from gateway.upstreams.dialects.translate.streams_to_chat import ToChat
from gateway.upstreams.dialects.translate.streams_to_messages import ToMessages

VERSION = (b"anthropic-version", b"2023-06-01")
"""Under the next one, 2026-10-21, `temperature`, `top_p` and `top_k` are refused whatever they say: a chat's caller may
send them. So do callers of /v1/messages who name no version."""
DEFAULT_CAP = Raw(b"4096")
"""`max_tokens`, which Anthropic must be told, where neither the caller nor the model's `default_output_cap` says."""
_NEWER = {"max_tokens": "max_completion_tokens"}
"""What bought APIs call it now; every engine knows the older name."""


class Machine(Protocol):
    """The way back of one stream. Each raises BadAnswer for what is not as the upstream's API has it."""

    def feed(self, frames: bytes) -> bytes:
        """Whole frames of the upstream's in, whole frames of the caller's out."""
        ...

    def end(self) -> bytes:
        """What is still to be said when the upstream has closed."""
        ...


@dataclass(frozen=True, slots=True)
class Twin:
    """One direction, from the caller's endpoint to `spoken`."""

    spoken: Endpoint
    request: Callable[[Mapping[str, Raw]], dict[str, Raw]]
    error: Callable[[int, bytes], bytes]


TWINS: Mapping[str, Twin] = {
    CHAT.name: Twin(MESSAGES, to_messages, errors.for_chat),
    MESSAGES.name: Twin(CHAT, to_chat, errors.for_messages),
}
"""By the caller's endpoint. `routing/capability.py` says who is asked so; tests hold the two equal."""


class Rewording:
    """A caller's request in the words of its endpoint's twin, worked out when first asked for and kept."""

    __slots__ = ("_endpoint", "_fields", "_made", "_obstacle")

    def __init__(self, endpoint: str, fields: Mapping[str, Raw]) -> None:
        """`fields`: the body's, as the caller wrote them."""
        self._endpoint, self._fields = endpoint, fields
        self._made: Mapping[str, Raw] | None = None
        self._obstacle: Obstacle | None = None

    @property
    def tools(self) -> bool:
        return "tools" in self._fields or "functions" in self._fields

    def obstacle(self) -> Obstacle | None:
        """What of it has no counterpart; None where all has one."""
        if self._made is None and self._obstacle is None:
            try:
                self._made = TWINS[self._endpoint].request(self._fields)
            except InvalidRequest as error:
                self._obstacle = Obstacle(error.param, error.message)
        return self._obstacle

    def fields(self) -> Mapping[str, Any]:
        """Raises InvalidRequest where there is an obstacle."""
        obstacle = self.obstacle()
        if obstacle is not None or self._made is None:
            why, param = ("it cannot be translated", None) if obstacle is None else (obstacle.why, obstacle.param)
            raise InvalidRequest(why, param=param)
        return self._made


class Translation:
    """One attempt at an upstream that speaks the twin: what it is sent, and what the caller is given of its answer."""

    def __init__(self, request: GenRequest, fields: Mapping[str, Raw], reworded: Reworded, now: int) -> None:
        """`fields`: of the caller's body; `now`: seconds since the epoch."""
        self._twin, self._fields, self._reworded, self._now = TWINS[request.endpoint], fields, reworded, now
        self._include_usage = request.include_usage
        self.spoken = self._twin.spoken
        """How the upstream's answer is read and metered."""

    def body(self, upstream: Upstream, cap: int | None) -> Mapping[str, Raw]:
        """Fields of the upstream's request. `cap`: tokens, of an output that the caller does not bound. Raises
        InvalidRequest."""
        fields = self._reworded.fields()
        if self.spoken is MESSAGES:
            least = DEFAULT_CAP if cap is None else Raw(b"%d" % cap)
            return fields if "max_tokens" in fields else {**fields, "max_tokens": least}
        if upstream.kind == "local":
            return fields
        return {_NEWER.get(name, name): value for name, value in fields.items()}

    def answer(self, body: bytes) -> bytes:
        """A whole answer. Raises BadAnswer."""
        if self.spoken is MESSAGES:
            return answers_to_chat.to_chat(body, self._now)
        return answers_to_messages.to_messages(body, self._stops(), thinking=thinks(self._fields))

    def error(self, status: int, body: bytes) -> bytes:
        """A refusal that is passed on."""
        return self._twin.error(status, body)

    def stream(self) -> Machine:
        if self.spoken is MESSAGES:
            return ToChat(self._now, include_usage=self._include_usage)
        return ToMessages(self._stops(), thinking=thinks(self._fields))

    def _stops(self) -> frozenset[str]:
        return frozenset(given(self._fields, "stop_sequences", list[str]) or ())


def headers_up(spoken: Endpoint, upstream: Upstream, given: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Those of the caller's headers that go up to whoever speaks `spoken`, and the version that a bought API must be
    told where the caller names none."""
    sent = [(name, given[name]) for name in spoken.headers if name in given]
    name = VERSION[0]
    if upstream.kind == "managed" and name in spoken.headers and name not in given:
        sent.append(VERSION)
    return sent
