"""The judge of the chaos kit: each kind of harm is found where it is, and only there."""

from __future__ import annotations

import json

import pytest

from loadtests.chaos.score import Delivery, Promise, broken, figures, over_admitted
from loadtests.chaos.traffic import Asked, judged
from loadtests.soak.wire import Answer


def asked(nonce: str = "a", sent: float = 10.0, **changes: object) -> Asked:
    one = Asked(nonce, sent, stream=False, flagged=False, tries=1, first=sent + 0.1, ended=sent + 1, what="right")
    for name, value in changes.items():
        setattr(one, name, value)
    return one


def delivery(nonce: str = "a", server: str = "w1", **changes: object) -> Delivery:
    given = {"managed": False, "began": 0.0, "ended": 1.0, "outcome": "finished", "status": 200, **changes}
    return Delivery(server, nonce=nonce, **given)  # type: ignore[arg-type]


def test_nothing_wrong() -> None:
    seen = figures([asked()], [delivery()], {"w1": 1}, 0, mark=9.0)
    assert broken(Promise(), seen) == []
    assert (seen.requests, seen.served, seen.recovery) == (1, 1, 0.0)


@pytest.mark.parametrize(
    ("name", "request_", "seen"),
    [
        ("lost", asked(what="lost"), []),
        ("lost", asked(what="refused upstream_error"), []),
        ("refused", asked(what="refused no_capacity"), []),
        ("refused", asked(what="refused fleet_saturated"), []),
        ("cut", asked(what="cut"), []),
        ("repeated", asked(), [delivery(), delivery(server="w2")]),
        ("duplicated", asked(), [delivery(managed=True, outcome="aborted"), delivery(managed=True, server="api")]),
        ("mis_sent", asked(flagged=True), [delivery(server="api", managed=True)]),
        ("over_admitted", asked(tries=2), [delivery(), delivery(began=0.5)]),
    ],
)
def test_each_harm(name: str, request_: Asked, seen: list[Delivery]) -> None:
    found = figures([request_], seen, {"w1": 1}, 0, mark=None)
    assert getattr(found, name) == 1
    assert len(broken(Promise(served=0.0), found)) == 1


def test_a_retry_after_a_failed_attempt_is_no_duplicate() -> None:
    first = delivery(outcome="lost", status=0)
    assert figures([asked()], [first, delivery(server="w2")], {}, 0, None).repeated == 0


def test_who_serves_nothing_keeps_no_promise() -> None:
    none = figures([asked(what="refused fleet_saturated")], [], {}, 0, None)
    assert broken(Promise(refused=None), none) == ["served 0 of 1, promised 90% at least"]


def test_leases_left_are_told() -> None:
    assert broken(Promise(), figures([], [], {}, 2, None)) == ["leaked 2, promised 0 at most"]


def test_recovery_ends_with_the_last_bad_one() -> None:
    late = asked(sent=13.0, first=16.0)
    seen = figures(
        [asked(sent=9.0, what="lost"), asked(sent=11.0, what="told"), late, asked(sent=20.0)], [], {}, 0, 10.0
    )
    assert seen.recovery == pytest.approx(3.0)


def test_over_admission_counts_the_worst_instant() -> None:
    held = [delivery(str(n), began=float(n), ended=float(n) + 2.5) for n in range(5)]
    assert over_admitted(held, {"w1": 2}) == 1
    assert over_admitted([delivery("x", began=0.0, ended=None), *held], {"w1": 2}) == 2


@pytest.mark.parametrize(
    ("answer", "stream", "what"),
    [
        (None, False, "left"),
        (Answer(), False, "lost"),
        (Answer(200, body=b'{"choices": []}', whole=True), False, "right"),
        (Answer(200, body=b'{"choices"'), False, "cut"),
        (Answer(200, body=b"data: {}\n\ndata: [DONE]\n\n", whole=True), True, "right"),
        (Answer(200, body=b"data: {}\n\n", whole=True), True, "cut"),
        (Answer(200, body=b'data: {}\n\ndata: {"error": {}}\n\n', whole=True), True, "told"),
        (
            Answer(429, body=json.dumps({"error": {"code": "fleet_saturated"}}).encode(), whole=True),
            False,
            "refused fleet_saturated",
        ),
        (Answer(503, body=b"nonsense", whole=True), False, "refused 503"),
    ],
)
def test_what_a_client_saw(answer: Answer | None, stream: bool, what: str) -> None:
    assert judged(asked(stream=stream), answer) == what
