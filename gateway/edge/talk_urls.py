"""Addresses in a session with a worker of ours: an event that names one goes no further (docs/media.md).

As in conversations (`chat_urls.py`) no engine of ours may be sent to fetch anything. Nobody waits here while something
is fetched, so an address is refused. Events are looked at whole, and otherwise pass as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from websockets.frames import Frame

from gateway.edge.chat_urls import Place, found
from gateway.errors import InvalidRequest
from gateway.upstreams.dialects.endpoint import ADDRESSED

MOST_PARTS = 100_000
"""Brackets and commas of one event: it is looked through between two others, which takes some 15 ms then. Sound and
pictures have none of them."""
_EVENT = "event"
_SOUND, _APPENDED, _PART = "audio", "input_audio_buffer.append", "input_audio"
"""Where engines read base64, and no address: in this event, and in parts of this type. There is no colon in that.
Anywhere else they may open such a text as a file."""
_any = msgspec.json.Decoder()


class Sieve:
    """Of one session."""

    def __init__(self) -> None:
        self._held: list[Frame] = []
        """Of a message that is not whole."""

    def sift(self, frame: Frame) -> list[Frame]:
        """The frames that may go up now. Raises InvalidRequest for a message that may not: it is dropped."""
        self._held.append(frame)
        if not frame.fin:
            return []
        held, self._held = self._held, []
        message = bytes(held[0].data) if len(held) == 1 else b"".join(bytes(one.data) for one in held)
        look(message)
        return held if len(held) == 1 else [Frame(held[0].opcode, message)]


def look(message: bytes) -> None:
    """Raises InvalidRequest for what is no event, one JSON object in UTF-8, and for one that a worker of ours must not
    see: whoever reads more kindly than we do, past a mark of its byte order say, would see what nobody looked at."""
    if sum(map(message.count, (b"{", b"[", b","))) > MOST_PARTS:
        raise InvalidRequest(f"an event may have at most {MOST_PARTS} parts", param=_EVENT)
    try:
        event = _any.decode(message.decode())
        place = next((one for one in _named(event) if not _is_sound(one, event)), None)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest("the event is not valid JSON", param=_EVENT) from None
    except RecursionError:
        raise InvalidRequest("the event is nested too deeply", param=_EVENT) from None
    if not isinstance(event, dict):
        raise InvalidRequest("an event is a JSON object", param=_EVENT)
    if place is not None:
        what = "is no data URL: addresses are not gone to in a session, send the data itself"
        raise InvalidRequest(f"the event: its `{place.key}` {what}", param=place.key)


def _named(event: Any) -> Iterator[Place]:
    """As in conversations, and every text of a list under such a key."""
    yield from found(event)
    left = [event]
    while left:
        one = left.pop()
        values = one.items() if isinstance(one, dict) else ()
        for key, value in values:
            if key in ADDRESSED and isinstance(value, list):
                texts = (Place({key: text}, key, ADDRESSED[key]) for text in value if isinstance(text, str))
                yield from (place for place in texts if not place.is_data)
        inner = one if isinstance(one, list) else [value for _, value in values]
        left += [value for value in inner if isinstance(value, dict | list)]


def _is_sound(place: Place, event: Any) -> bool:
    if place.key != _SOUND or ":" in place.text:
        return False
    return place.holder.get("type") == _PART or (place.holder is event and event.get("type") == _APPENDED)
