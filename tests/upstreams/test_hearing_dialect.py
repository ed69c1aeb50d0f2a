"""Answers and events of transcriptions."""

from __future__ import annotations

import json

import pytest

from gateway.edge.metering import heard
from gateway.model import Usage
from gateway.upstreams.dialects.hearing import EVENTS, holds_answer, usage_of
from gateway.upstreams.sse import Tap

BY_TIME = Usage(0, 0, audio_seconds=9.0)
TOKENS = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "input_token_details": {"audio_tokens": 14}}
BY_TOKENS = Usage(14, 45, input_audio_tokens=14)


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (b'{"text":"hi","usage":{"type":"duration","seconds":9}}', BY_TIME),
        (json.dumps({"text": "hi", "usage": TOKENS}).encode(), BY_TOKENS),
        (b'{"text":"hi"}', None),
        (b"1\n00:00:00,000 --> 00:00:01,000\nhi\n", None),
        (b"42", None),
    ],
)
def test_usage_of_a_whole_answer(answer: bytes, usage: Usage | None) -> None:
    assert usage_of(answer) == usage
    assert holds_answer(answer)


@pytest.mark.parametrize("answer", [b'{"detail":"x"}', b"{}"])
def test_json_without_a_text_is_no_answer(answer: bytes) -> None:
    assert not holds_answer(answer)


def test_openais_events() -> None:
    tap = Tap(EVENTS, drop_usage=False)
    delta = b'event: transcript.text.delta\ndata: {"type":"transcript.text.delta","delta":"hi"}\n\n'
    done = b"data: " + json.dumps({"type": "transcript.text.done", "text": "hi", "usage": TOKENS}).encode() + b"\n\n"
    done = done.replace(b'"type": "t', b'"type":"t')
    assert tap.feed(delta) + tap.feed(done) == delta + done
    assert (tap.done, tap.failed, tap.usage) == (True, False, BY_TOKENS)


def test_blanks_in_json_hide_no_end() -> None:
    tap = Tap(EVENTS, drop_usage=False)
    tap.feed(b'data: {"type": "transcript.text.done", "text": "hi"}\n\n')
    assert tap.done


def test_vllms_chunks() -> None:
    tap = Tap(EVENTS, drop_usage=False)
    chunk = b'data: {"object":"transcription.chunk","choices":[{"delta":{"content":"hi"}}]}\n\n'
    told = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
    assert tap.feed(chunk + told + b"data: [DONE]\n\n") == chunk + told + b"data: [DONE]\n\n"
    assert (tap.done, tap.usage) == (True, Usage(5, 7))


def test_an_error_event_is_no_end() -> None:
    tap = Tap(EVENTS, drop_usage=False)
    tap.feed(b'data: {"error":{"message":"EngineCore died"}}\n\n')
    assert (tap.done, tap.failed) == (False, True)


def test_what_nobody_tells_is_the_length_of_the_sound() -> None:
    assert heard(None, 4.0) == Usage(0, 0, audio_seconds=4.0, estimated=True)
    assert heard(BY_TOKENS, 4.0) is BY_TOKENS
