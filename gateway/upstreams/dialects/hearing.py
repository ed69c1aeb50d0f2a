"""OpenAI's /audio/transcriptions and /audio/translations: a form goes up, JSON, text or events come down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from gateway.model import Usage
from gateway.upstreams.codes import code_of
from gateway.upstreams.dialects.endpoint import words
from gateway.upstreams.dialects.figures import ODD_JSON
from gateway.upstreams.dialects.media_usage import of_transcription
from gateway.upstreams.dialects.openai import CHAT, read_frame
from gateway.upstreams.sse import Events, Note, Reader

_DONE, _ENDED = b"[DONE]", b'"transcript.text.done"'
_ERROR = b'"error"'
_TEXTS = frozenset({b"text/plain", b"text/vtt", b"text/srt", b"application/x-subrip", b"application/srt"})
"""What `response_format` text, srt and vtt are sent as."""

_object = msgspec.json.Decoder(dict[str, Any])


def usage_of(answer: bytes) -> Usage | None:
    """None where it tells none, or is a text."""
    try:
        return of_transcription(_object.decode(answer))
    except ODD_JSON:
        return None


def holds_answer(answer: bytes) -> bool:
    """A text is what was heard, also where that is nothing; JSON has its `text`, or `segments`."""
    try:
        found = _object.decode(answer)
    except ODD_JSON:
        return not code_of(answer)
    return "text" in found or "segments" in found


def read_event(data: bytes) -> Note:
    """OpenAI's events, whose last one tells the usage, and vLLM's chunks, which are those of chats."""
    if data == _DONE:
        return Note(end=True)
    try:
        event = _object.decode(data)
    except ODD_JSON:
        return Note()
    if event.get("type") == "transcript.text.done":
        return Note(of_transcription(event), end=True)
    return Note(failed=True) if event.get("error") is not None or event.get("type") == "error" else read_frame(data)


def reader() -> Reader:
    return read_event


EVENTS = Events(reader, marks=(_DONE, _ENDED, _ERROR), token=b"data:")
TRANSCRIPTIONS = replace(
    CHAT,
    name="audio/transcriptions",
    prompt=("prompt",),
    media=words(),
    caps=(),
    cap=None,
    asks_usage=False,
    usage_of=usage_of,
    events=EVENTS,
    accepts=b"*/*",
    kinds=_TEXTS,
    holds_answer=holds_answer,
)
TRANSLATIONS = replace(TRANSCRIPTIONS, name="audio/translations")
HEARING = frozenset({TRANSCRIPTIONS.name, TRANSLATIONS.name})
