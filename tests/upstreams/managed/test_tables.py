"""The tables of GMI, Vertex, DashScope and Ark: whatever an API answers is told or a fault, and what a card of the
catalogue promises can be ordered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.cards import Card, cards
from gateway.errors import Refused, UpstreamFault
from gateway.model import ENDED, EndpointName
from gateway.upstreams import answers
from gateway.upstreams.codes import code_of_reason
from gateway.upstreams.dialects.managed.families import SEED_BITS, seed_of
from gateway.upstreams.dialects.managed.gmi import Gmi
from gateway.upstreams.dialects.ordered import BY_DIALECT
from gateway.upstreams.dialects.ordering import Answer, Order
from tests.simproviders.driving import FIRST, IMAGE, account, order

OURS = ("ark", "dashscope", "gmi", "vertex")
ROWS = [(dialect, endpoint) for dialect, endpoint in BY_DIALECT if dialect in OURS]
WORDS = st.sampled_from(
    (
        *("name", "done", "response", "videos", "error", "code", "message", "output", "task_id", "task_status"),
        *("request_id", "status", "outcome", "media_urls", "url", "id", "content", "video_url", "data", "b64_json"),
        *("success", "SUCCEEDED", "succeeded", "failed", "FAILED", "usage", "duration", "image", "choices"),
        "bytesBase64Encoded",
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=25,
)


def check(row: tuple[str, EndpointName], body: Any, status: int) -> None:
    """Told or a fault, and the one that fits."""
    dialect, wanted = BY_DIALECT[row], order(row[1], "any")
    answer = Answer(status, (), msgspec.json.encode(body))
    for read in (dialect.submitted, lambda order, answer: dialect.polled(order, "t", answer)):
        try:
            told = read(wanted, answer)
        except UpstreamFault:
            continue
        assert status == 200
        assert bool(told.pieces) == (told.state == "succeeded")
        assert told.state not in ENDED or told.state == "succeeded" or told.fault is not None
        assert all((piece.data is None) != (piece.url is None) for piece in told.pieces)


@given(st.sampled_from(ROWS), st.dictionaries(WORDS, JSON) | JSON, st.sampled_from([200, 400, 404, 500]))
def test_any_answer_is_told_or_a_fault(row: tuple[str, EndpointName], body: Any, status: int) -> None:
    check(row, body, status)


TRUE: list[tuple[tuple[str, EndpointName], Any]] = [
    (("gmi", "videos"), {"request_id": "r", "status": "success", "outcome": {"media_urls": [{"id": "1", "url": "u"}]}}),
    (("gmi", "videos"), {"request_id": "r", "status": "failed", "outcome": {"error": {"message": "m", "code": "c"}}}),
    (
        ("vertex", "videos"),
        {"name": "n", "done": True, "response": {"videos": [{"bytesBase64Encoded": "AAAA", "mimeType": "video/mp4"}]}},
    ),
    (("vertex", "videos"), {"name": "n", "done": True, "error": {"code": 8, "message": "m"}}),
    (
        ("dashscope", "videos"),
        {
            "output": {"task_id": "t", "task_status": "SUCCEEDED", "video_url": "u"},
            "usage": {"duration": 5, "SR": 720},
        },
    ),
    (("dashscope", "videos"), {"output": {"task_id": "t", "task_status": "FAILED", "code": "c", "message": "m"}}),
    (
        ("dashscope", "images/generations"),
        {"output": {"choices": [{"message": {"content": [{"image": "u"}]}}]}, "usage": {"image_count": 1}},
    ),
    (
        ("ark", "videos"),
        {
            "id": "i",
            "status": "succeeded",
            "content": {"video_url": "u"},
            "usage": {"completion_tokens": 9},
            "duration": 5,
            "resolution": "720p",
        },
    ),
    (("ark", "videos"), {"id": "i", "status": "failed", "error": {"code": "c", "message": "m"}}),
    (
        ("ark", "images/generations"),
        {"data": [{"b64_json": "AAAA"}, {"error": {"code": "c"}}], "usage": {"generated_images": 1}},
    ),
]
ODD: tuple[Any, ...] = (None, True, 0, -1, 1.5, "", "x", [], [None], [[]], {}, {"x": 1}, ["x"])


def twisted(value: Any) -> Iterator[Any]:
    """The value with one part of it, at any depth, replaced by something odd, or missing."""
    yield from ODD
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: each for key, each in value.items() if key != name}
            yield from ({**value, name: other} for other in twisted(part))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in twisted(part))


@pytest.mark.parametrize(("row", "body"), TRUE)
def test_an_answer_with_any_part_twisted_is_told_or_a_fault(row: tuple[str, EndpointName], body: Any) -> None:
    check(row, body, 200)
    for other in twisted(body):
        check(row, other, 200)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("created", "queued"),
        ("queued", "queued"),
        ("dispatched", "running"),
        ("processing", "running"),
        ("a-new-word", "running"),
        ("success", "succeeded"),
        ("Completed", "succeeded"),
        ("done", "succeeded"),
        ("failed", "failed"),
        ("error", "failed"),
        ("canceled", "cancelled"),
        ("timeout", "expired"),
    ],
)
def test_words_of_gmi(word: str, state: str) -> None:
    page = {"request_id": "r", "status": word, "outcome": {"url": "https://x/a.mp4"}}
    told = Gmi().polled(order("videos", "wan2.6-t2v"), "r", Answer(200, (), msgspec.json.encode(page)))
    assert told.state == state


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("rate limit exceeded(RPM)", "rate_limit_exceeded"),
        ("Too many requests", "rate_limit_exceeded"),
        ("Insufficient account balance", "insufficient_quota"),
        ("the content violates our content policy", "content_policy_violation"),
        ("blocked: sensitive words", "content_policy_violation"),
        ("a case-sensitive name", ""),
        ("model Flux2-Klein is not found", "model_not_found"),
        ("servers are at capacity", "server_is_overloaded"),
        ("Backend error (422)", "invalid_request"),
        ("Backend error (502)", ""),
        ("", ""),
    ],
)
def test_reasons_in_words(reason: str, code: str) -> None:
    assert code_of_reason(reason) == code


@pytest.mark.parametrize(
    ("code", "status", "elsewhere", "spend"),
    [
        ("AccountOverdueError", 402, True, True),
        ("InvalidEndpointOrModel.NotFound", 404, True, False),
        ("ServerOverloaded", 429, True, False),
        ("DataInspectionFailed", 400, False, False),
        ("InvalidParameter", 400, False, False),
        ("SomethingNew", 500, False, False),
    ],
)
def test_a_failure_is_judged_by_its_code(code: str, status: int, elsewhere: bool, spend: bool) -> None:
    fault = answers.judged("whatever it says", code)
    assert (fault.status, fault.code, fault.account) == (status, code, spend)
    assert answers.retryable("managed", fault) is elsewhere


def test_what_a_failure_says_goes_nowhere() -> None:
    fault = answers.judged("the prompt was: my secret", "a code with my secret in it")
    assert isinstance(fault, Refused)
    assert "secret" not in str(fault)


@given(st.text(min_size=1, max_size=40))
def test_every_mark_has_a_seed_that_apis_take(mark: str) -> None:
    assert 0 <= seed_of(mark) < 1 << SEED_BITS


# -- the catalogue -------------------------------------------------------------------------------------------------


def promised() -> Iterator[tuple[Card, Order]]:
    """An order for each thing that a card says can be had."""
    for card in {id(card): card for card in cards().values()}.values():
        offer = card.offer
        if card.dialect not in OURS or offer is None:
            continue
        for endpoint in offer.endpoints or ():
            least = (offer.inputs or (0, 0))[0]
            picture = FIRST if endpoint == "videos" else IMAGE
            pictures = (picture,) * (max(least, 1) if endpoint == "images/edits" else least)
            asks: list[dict[str, Any]] = [{}]
            asks += [{"size": each} for each in offer.sizes]
            asks += [{"resolution": each} for each in offer.resolutions]
            asks += [{"ratio": each} for each in offer.ratios]
            asks += [{"quality": each} for each in offer.qualities]
            asks += [{"format": each} for each in offer.formats]
            asks += [{"seconds": each} for each in (*offer.seconds, *(offer.seconds_range or ()))]
            asks += [{"n": offer.most_n}] if offer.most_n else []
            yield from ((card, order(endpoint, card.model, pictures=pictures, **ask)) for ask in asks)


@pytest.mark.parametrize(("card", "wanted"), list(promised()), ids=lambda each: getattr(each, "model", ""))
def test_what_a_card_promises_can_be_ordered(card: Card, wanted: Order) -> None:
    to = account(card.dialect, "http://127.0.0.1:1/v1")
    sent = BY_DIALECT[card.dialect, wanted.endpoint].submit(to, wanted)
    assert msgspec.json.decode(sent.body)
