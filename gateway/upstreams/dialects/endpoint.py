"""What the gateway must know of one endpoint. The files beside this one describe theirs; `surface.py` is the table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Raw

from gateway.errors import GatewayError
from gateway.model import EndpointName, MediaAsk, Timeouts, Usage
from gateway.upstreams.codes import holds_answer
from gateway.upstreams.sse import Events

Kind = Literal["image", "audio", "video", "file"]
ADDRESSED: Mapping[str, Kind] = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "audio_url": "audio",
    "audio": "audio",
    "video_url": "video",
    "video": "video",
    "file_url": "file",
}
"""Keys under which engines take an address, or an object with one: OpenAI's; vLLM's entrypoints/chat_utils.py; SGLang's
protocol.py, which also opens a text that is no address as a file of its own disk. A body in which none of them is holds
no address that a worker would go to, so they are among the words of every endpoint of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One row: what routing reads of a request, what is changed on its way up, how its answer and its errors look."""

    name: EndpointName
    prompt: tuple[str, ...]
    """Body fields that the model reads, about in the order in which it does: their bytes stand for the prompt's tokens.
    None: no model reads it."""
    ids: str | None = None
    """The one of them that may hold token ids instead of text."""
    media: re.Pattern[bytes]
    """Found in a body that holds more than text. A word of this kind in plain text only makes the price unbounded."""
    caps: tuple[str, ...] = ()
    """Body fields that cap the output in tokens, the larger counts. None: nothing is written."""
    cap: str | None = None
    """The one of them that the gateway writes where it caps an output that its caller does not."""
    needs: tuple[str, ...] = ()
    """Body fields beside `model` that must be there."""
    streams: bool = True
    """Whether `stream: true` in the body means a stream."""
    asks_usage: bool = False
    """A stream tells its usage only when `stream_options` asks for it."""
    defaults: Mapping[str, Raw] = field(default_factory=dict)
    """Body fields that go up with this value where the caller leaves them out."""
    headers: tuple[bytes, ...] = ()
    """The caller's own headers that go up; no other one does."""
    usage_of: Callable[[bytes], Usage | None]
    """Usage of a complete answer; None where it has none or is not JSON."""
    events: Events
    """How its stream is read."""
    kinds: frozenset[bytes] = frozenset()
    """Media types of its answers beside JSON and streams of events."""
    holds_answer: Callable[[bytes], bool] = holds_answer
    """Whether a success that tells no usage is an answer all the same."""
    error_body: Callable[[GatewayError, str], bytes]
    """An error of ours as a whole answer; the second argument is the request's id."""
    error_event: Callable[[GatewayError, str, bytes], bytes]
    """The same as the last event of a stream; the third argument is what was forwarded last."""
    asks: Callable[[Mapping[str, Raw]], MediaAsk] | None = None
    """Of pictures and sound: what a body asks for. Raises InvalidRequest. None: it is about text."""
    asks_stream: Callable[[Mapping[str, Raw]], bool] | None = None
    """Where it is not `stream` that asks for a stream of events."""
    jobs: Literal["never", "on_request", "always"] = "never"
    """Whether what it makes may outlive its request: where the body says `background: true`, or whatever it says."""
    plain: frozenset[str] = frozenset()
    """Fields that change price, scheduling or retention elsewhere, and mean something else here."""
    forms: bool = False
    """It takes multipart/form-data beside JSON, and goes up as that either way."""
    pictures: tuple[int, int] = (0, 0)
    """Fewest and most pictures that may be sent along."""
    picture: str = "image"
    """The field that they come in, of several the one that errors name."""
    accepts: bytes = b"application/json"
    """What a whole answer is asked for as."""
    sound: bool = False
    """Its answer may be bytes that are passed on as they come."""
    timeouts: Timeouts | None = None
    """What holds where a rule does not say otherwise; None: as for text."""

    @property
    def path(self) -> str:
        return f"/v1/{self.name}"


def words(*given: str) -> re.Pattern[bytes]:
    """Any of these as a JSON string of its own. One pass over a large body costs a third of looking for each."""
    return re.compile(b'"(?:' + b"|".join(word.encode() for word in given) + b')"')
