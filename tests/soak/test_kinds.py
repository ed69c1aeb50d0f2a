"""What the soak takes for a right answer, for a documented error, and for neither."""

from __future__ import annotations

import json
from random import Random

import httptools
import pytest

from loadtests.soak.kinds import BROKE_OFF, KINDS, Ask, Wrong, judge
from loadtests.soak.wire import Answer

LOCAL = {"x-gateway-outcome": "local", "x-gateway-backend": "gpu"}
BOUGHT = {"x-gateway-outcome": "spilled", "x-gateway-backend": "api"}


def ask(name: str) -> Ask:
    kind = next(kind for kind in KINDS if kind.name == name)
    return kind.ask(7, Random(1))


def answer(body: object, status: int = 200, headers: dict[str, str] = LOCAL) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, headers, raw, whole=True)


def chat(asked: Ask, nonce: str = "n7", more: int = 0) -> object:
    return {"system_fingerprint": nonce, "usage": {"completion_tokens": asked.tokens + more}}


def stream(asked: Ask, *last: object, nonce: str = "n7", words: int | None = None) -> bytes:
    text = "word " * (asked.tokens if words is None else words)
    events = [{"system_fingerprint": nonce, "choices": [{"delta": {"content": text}}]}, *last]
    made = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    return made if last else made + b"data: [DONE]\n\n"


def failure(code: str, status: int) -> Answer:
    return answer({"error": {"code": code, "message": "?"}}, status, {})


def test_every_request_is_one_that_a_server_can_read() -> None:
    for kind in KINDS:
        made = kind.ask(1, Random(2))
        parser = httptools.HttpRequestParser(object())
        parser.feed_data(made.raw)
        body = json.loads(made.raw.partition(b"\r\n\r\n")[2])
        assert body.get("stream", False) == kind.stream
        assert (b"x-data-residency: local" in made.raw) == kind.flagged
        assert made.raw.index(b"\r\n\r\n") < made.half < len(made.raw)
    assert sum(kind.share for kind in KINDS) == pytest.approx(1.0)


def test_right_answers() -> None:
    plain, flagged, streamed = ask("chat"), ask("chat, flagged"), ask("chat, streamed")
    assert judge(plain, answer(chat(plain))) == "local"
    assert judge(plain, answer(chat(plain), headers=BOUGHT)) == "spilled"
    assert judge(flagged, answer(chat(flagged))) == "local"
    assert judge(streamed, answer(stream(streamed))) == "local"
    nobody = ask("no such model")
    assert judge(nobody, failure("model_not_found", 404)) == "model_not_found"


def test_documented_errors() -> None:
    plain, streamed, message = ask("chat"), ask("chat, streamed"), ask("messages")
    assert judge(plain, failure("fleet_saturated", 429)) == "fleet_saturated"
    assert judge(streamed, failure("upstream_error", 502)) == "upstream_error"
    assert judge(streamed, answer(stream(streamed, {"error": {"code": "upstream_error"}}, words=3))) == BROKE_OFF
    shape = {"type": "error", "error": {"type": "overloaded_error", "details": {"error_code": "no_capacity"}}}
    assert judge(message, answer(shape, 503)) == "no_capacity"


def test_what_is_neither() -> None:
    plain, flagged, streamed = ask("chat"), ask("chat, flagged"), ask("chat, streamed")
    wrong = [
        (plain, answer(chat(plain, nonce="n8")), "nonce"),
        (plain, answer(chat(plain, more=1)), "tokens"),
        (plain, answer(b"{"), "not JSON"),
        (plain, answer(chat(plain), headers={}), "outcome none"),
        (plain, Answer(200, LOCAL, b"{}", fault="the connection ended"), "the connection ended"),
        (plain, Answer(200, LOCAL, b"{}"), "no end"),
        (plain, failure("internal_error", 500), "500 internal_error"),
        (plain, failure("model_not_found", 404), "404 model_not_found"),
        (plain, answer(b"bad gateway", 502), "without its shape"),
        (flagged, answer(chat(flagged), headers=BOUGHT), "left the fleet"),
        (streamed, answer(stream(streamed, nonce="n8")), "nonce"),
        (streamed, answer(stream(streamed, words=1)), "tokens"),
        (streamed, answer(stream(streamed)[:-1]), "inside an event"),
        (streamed, answer(stream(streamed).removesuffix(b"data: [DONE]\n\n")), "end"),
        (ask("no such model"), answer({}), "nobody has this model"),
        (ask("no such model"), failure("fleet_saturated", 429), "error"),
    ]
    for asked, told, why in wrong:
        with pytest.raises(Wrong, match=why):
            judge(asked, told)
