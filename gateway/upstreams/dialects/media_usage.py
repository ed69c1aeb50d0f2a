"""Usage of media answers, for the endpoints to come: pictures, transcripts, videos. Nothing is raised for any JSON.

Each takes the decoded answer. What an answer leaves out is told by the request, which is its caller's affair: these
functions say only what was told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.model import Usage
from gateway.upstreams.dialects.figures import Figures, nested, prompt_parts

_LONGEST_WORD = 32


def of_images(answer: Mapping[str, Any]) -> Usage:
    """/images/generations and /images/edits. Pictures are counted one by one: an API that filters some puts an `error`
    in their place, and bills the others. Without details all output tokens are of pictures."""
    figures, usage = Figures(), nested(answer, "usage")
    prompt, output = figures.count(usage.get("input_tokens")), figures.count(usage.get("output_tokens"))
    read, made = nested(usage, "input_tokens_details"), nested(usage, "output_tokens_details")
    parts = prompt_parts(figures, read, prompt, None)
    return Usage(
        prompt,
        output,
        parts.cached,
        input_image_tokens=parts.pictures,
        cached_image_tokens=parts.cached_pictures,
        output_image_tokens=figures.part(made["image_tokens"], output) if "image_tokens" in made else output,
        images=_pictures(answer),
        quality=_text(answer, "quality"),
        size=_text(answer, "size"),
        absurd=figures.odd,
    )


def of_image_event(event: Mapping[str, Any]) -> Usage | None:
    """`image_generation.completed` and `image_edit.completed` of a stream, which are one picture each; None for the
    partial ones, which are not billed but by the tokens that the last one tells."""
    if event.get("type") not in ("image_generation.completed", "image_edit.completed"):
        return None
    return of_images({**event, "data": [event]})


def of_transcription(answer: Mapping[str, Any]) -> Usage | None:
    """/audio/transcriptions: by tokens, or by seconds of what was heard (`type: duration`). None where it tells neither
    (the formats `text`, `srt` and `vtt`, and older models)."""
    figures, usage = Figures(), nested(answer, "usage")
    if usage.get("type") == "duration" or "seconds" in usage:
        return Usage(0, 0, audio_seconds=figures.seconds(usage.get("seconds")), absurd=figures.odd)
    if not usage:
        return None
    prompt, read = figures.count(usage.get("input_tokens")), nested(usage, "input_token_details")
    return Usage(
        prompt,
        figures.count(usage.get("output_tokens")),
        input_audio_tokens=figures.part(read.get("audio_tokens"), prompt),
        absurd=figures.odd,
    )


def of_video(record: Mapping[str, Any]) -> Usage | None:
    """/videos: there is no usage object, the record's `seconds` (text) and `size` are what is billed, once it is
    `completed`. None before, and where it failed: that is not billed."""
    if record.get("status") != "completed":
        return None
    figures = Figures()
    seconds = figures.seconds(record.get("seconds"))
    return Usage(0, 0, seconds=seconds, size=_text(record, "size"), absurd=figures.odd or not seconds)


def _pictures(answer: Mapping[str, Any]) -> int:
    data = answer.get("data")
    return sum(isinstance(one, dict) and not one.get("error") for one in data) if isinstance(data, list) else 0


def _text(found: Mapping[str, Any], name: str) -> str | None:
    """A word of the price list's, such as `1024x1024`; a longer one is none."""
    said = found.get(name)
    return said if isinstance(said, str) and 0 < len(said) <= _LONGEST_WORD else None
