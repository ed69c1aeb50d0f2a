"""What is read of a conversation, and what its client may say of itself without a header."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import NoCapacity
from gateway.model import Usage
from gateway.upstreams.dialects.realtime import Tally, added, error_event, offer_of, path_of
from tests.worlds import upstream

TOLD: dict[str, Any] = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 54, "audio_tokens": 10},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
USED = Usage(132, 121, 64, input_audio_tokens=13, cached_audio_tokens=10, output_audio_tokens=91)


def done(usage: Any, type: str = "response.done") -> bytes:
    return json.dumps({"type": type, "response": {"usage": usage}}).encode()


@pytest.mark.parametrize(
    ("message", "usage"),
    [
        (done(TOLD), USED),
        (done({"input_tokens": 5}), Usage(5, 0)),
        (
            b'{"type":"transcription.done","text":"hi","usage":{"prompt_tokens":40,"completion_tokens":3}}',
            Usage(40, 3),
        ),
        (b'{"type":"transcription.done","text":"hi","usage":null}', None),
        (b'{"type":"transcription.delta","delta":"transcription.done"}', None),
        (done(None), None),
        (done({}), None),
        (done(TOLD, "response.cancelled"), None),
        (done(TOLD, "not response.done"), None),
        (b'{"type":"response.done"}', None),
        (b"response.done", None),
        (b'["response.done"]', None),
        (b"\xff response.done", None),
    ],
)
def test_usage_of_an_answer(message: bytes, usage: Usage | None) -> None:
    tally = Tally()
    assert tally.answered(message) == (usage is not None)
    assert tally.whole() == tally.told == (usage or Usage(0, 0))


def test_more_parts_than_the_whole_are_absurd() -> None:
    tally = Tally()
    assert tally.answered(done({**TOLD, "input_token_details": {"audio_tokens": 1000}}))
    assert tally.told.absurd


CREATED = b'{"type":"response.created","response":{"id":"r"}}'


def test_an_answer_that_is_not_done_is_guessed() -> None:
    tally = Tally()
    tally.answered(CREATED)
    tally.answered(done(TOLD))
    tally.asked(64_000)
    tally.answered(CREATED)
    tally.answered(b'{"type":"response.output_audio.delta","delta":"%b"}' % (b"A" * 32_000))
    tally.answered(b'{"type":"response.output_audio_transcript.delta","delta":"Hi"}')
    assert tally.told == USED
    guess = Usage(132 + 121 + 10, 11 + 0, input_audio_tokens=13 + 91 + 10, output_audio_tokens=10, estimated=True)
    assert tally.whole() == added(USED, guess)
    tally.answered(done(TOLD))
    assert tally.whole() == added(USED, USED)


@pytest.mark.parametrize(
    ("said", "read", "spoken"),
    [
        ({}, 10, 10),
        ({"input_audio_format": "pcm16", "output_audio_format": "pcm16"}, 10, 10),
        ({"input_audio_format": "g711_ulaw", "output_audio_format": "pcm16"}, 60, 10),
        ({"input_audio_format": "pcm16", "output_audio_format": "g711_alaw"}, 10, 60),
        (
            {"audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}}},
            60,
            60,
        ),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 48_000}}}}, 5, 10),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": -1}}, "output": None}}, 10, 10),
        ({"audio": 7, "input_audio_format": ["pcm16"]}, 10, 10),
    ],
)
@pytest.mark.parametrize("kind", ["session.created", "session.updated"])
def test_sound_is_guessed_by_how_the_session_writes_it(kind: str, said: Any, read: int, spoken: int) -> None:
    tally = Tally()
    tally.answered(json.dumps({"type": kind, "session": said}).encode())
    tally.asked(64_000)
    tally.answered(CREATED)
    tally.answered(b'{"type":"response.output_audio.delta","delta":"%b"}' % (b"A" * 32_000))
    assert (tally.whole().input_audio_tokens, tally.whole().output_audio_tokens) == (read, spoken)


def test_usage_is_summed_in_every_part() -> None:
    assert added(Usage(0, 0), USED) == USED
    both = added(USED, Usage(1, 1, 1, absurd=True))
    assert (both.input_tokens, both.output_tokens, both.cached_tokens) == (133, 122, 65)
    assert (both.input_audio_tokens, both.output_audio_tokens, both.absurd) == (13, 91, True)


@pytest.mark.parametrize(
    ("lines", "subprotocols", "key"),
    [
        ([], (), None),
        ([b"realtime"], ("realtime",), None),
        (
            [b"realtime, openai-insecure-api-key.k-1, openai-beta.realtime-v1"],
            ("realtime", "openai-beta.realtime-v1"),
            "k-1",
        ),
        ([b"realtime", b"openai-organization.o,openai-project.p", b"openai-insecure-api-key.k"], ("realtime",), "k"),
        ([b"OpenAI-Insecure-API-Key.k-1, realtime"], ("realtime",), "k-1"),
    ],
)
def test_secrets_among_subprotocols(lines: list[bytes], subprotocols: tuple[str, ...], key: str | None) -> None:
    offer = offer_of(b"model=m", lines)
    assert (offer.subprotocols, offer.key) == (subprotocols, key)
    assert "k-1" not in repr(offer)


def test_the_upstreams_own_name_replaces_the_model() -> None:
    offer = offer_of(b"intent=a%20b&model=ours&x=", [])
    assert offer.model == "ours"
    assert path_of(upstream("u", "gpu"), "org/theirs", offer.query) == "/v1/realtime?model=org%2Ftheirs&intent=a+b&x="


def test_errors_are_events() -> None:
    event = json.loads(error_event(NoCapacity("no"), "r1"))
    assert (event["type"], event["event_id"]) == ("error", "event_r1")
    assert event["error"] == {
        "type": "api_error",
        "code": "no_capacity",
        "message": "no",
        "param": None,
        "event_id": None,
    }
