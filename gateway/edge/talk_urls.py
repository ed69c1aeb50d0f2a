"""Addresses in a session with a worker of ours: an event that names one goes no further (docs/media.md).

As in conversations (`chat_urls.py`) no engine of ours may be sent to fetch anything. Nobody waits here while something
is fetched, so an address is refused. Events are looked at whole, and otherwise pass as they are.
"""

from __future__ import annotations

import msgspec
from websockets.frames import Frame

from gateway.edge.chat_urls import Place, found
from gateway.errors import InvalidRequest

MOST_PARTS = 100_000
"""Brackets and commas of one event: it is looked through between two others, which takes some 15 ms then. Sound and
pictures have none of them."""
_EVENT = "event"
_SOUND = "audio"
"""Holds base64 in `input_audio_buffer.append` and in parts of an item; there is no colon in that."""
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
    """Raises InvalidRequest for an event that a worker of ours must not see. What is no object is no event."""
    if message.lstrip()[:1] != b"{":
        return
    if sum(map(message.count, (b"{", b"[", b","))) > MOST_PARTS:
        raise InvalidRequest(f"an event may have at most {MOST_PARTS} parts", param=_EVENT)
    try:
        places = found(_any.decode(message))
        place = next((one for one in places if not _is_sound(one)), None)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest("the event is not valid JSON", param=_EVENT) from None
    except RecursionError:
        raise InvalidRequest("the event is nested too deeply", param=_EVENT) from None
    if place is not None:
        what = "is no data URL: addresses are not gone to in a session, send the data itself"
        raise InvalidRequest(f"the event: its `{place.key}` {what}", param=place.key)


def _is_sound(place: Place) -> bool:
    return place.key == _SOUND and ":" not in place.text
