"""Who is asked in the caller's words, who in those of its twin, and who comes first."""

from __future__ import annotations

from random import Random

import pytest

from gateway.errors import InvalidRequest
from gateway.model import Obstacle
from gateway.routing.capability import TWIN, asked_at
from gateway.routing.decide import decide
from gateway.upstreams.dialects.translate.table import TWINS
from tests.routing.test_reference import Words
from tests.worlds import board, policy, reading, request, rule, upstream

CHAT, MESSAGES = "chat/completions", "messages"


def test_there_is_a_translation_for_each_twin() -> None:
    assert {name: twin.spoken.name for name, twin in TWINS.items()} == dict(TWIN)


@pytest.mark.parametrize(
    ("backend", "changes", "endpoint", "at"),
    [
        ("gpu", {"engine": "vllm"}, MESSAGES, MESSAGES),
        ("gpu", {"engine": "vllm"}, CHAT, CHAT),
        ("gpu", {"engine": "trtllm"}, MESSAGES, CHAT),
        ("gpu", {"engine": "tgi"}, MESSAGES, CHAT),
        ("gpu", {"engine": "vllm-omni"}, MESSAGES, CHAT),
        ("gpu", {"engine": "tgi"}, "messages/count_tokens", None),
        ("gpu", {"engine": "comfyui"}, CHAT, None),
        ("api", {"dialect": "anthropic"}, CHAT, MESSAGES),
        ("api", {"dialect": "anthropic"}, MESSAGES, MESSAGES),
        ("api", {"dialect": "anthropic"}, "responses", None),
        ("api", {"dialect": "gemini"}, MESSAGES, CHAT),
        ("api", {"dialect": "kling"}, MESSAGES, None),
        ("api", {"dialect": "openai", "endpoints": frozenset({MESSAGES})}, CHAT, MESSAGES),
    ],
)
def test_where_it_is_asked(backend: str, changes: dict[str, object], endpoint: str, at: str | None) -> None:
    assert asked_at(upstream("u", backend, **changes), endpoint) == at


def test_what_it_was_found_to_be_counts() -> None:
    assert asked_at(upstream("u", "gpu", engine="auto"), MESSAGES) == MESSAGES
    assert asked_at(upstream("u", "gpu", engine="auto"), MESSAGES, "tgi") == CHAT


MIXED = policy((upstream("speaks", "gpu"), upstream("chats", "gpu", engine="tgi")), (rule(spill=None),))


@pytest.mark.parametrize("picker", ["best", "weighted_random", "power_of_two"])
def test_who_speaks_the_callers_words_comes_first(picker: str) -> None:
    """Before one that is empty, whatever the picker adds; and the other one stays a candidate."""
    made = policy(tuple(MIXED.upstreams.values()), (rule(spill=None, picker=picker),))
    for seed in range(20):
        asked = request(endpoint=MESSAGES, reworded=Words())
        (group,) = decide(asked, board(made, speaks={"leased": 900_000}), Random(seed)).primary
        lifts = {one.upstream.name: one.score + one.lift for one in group.candidates}
        assert lifts["speaks"] > lifts["chats"] + group.load_weight


def test_nobody_is_put_behind_where_all_must_translate() -> None:
    made = policy((upstream("a", "gpu", engine="tgi"), upstream("b", "gpu", engine="trtllm")), (rule(spill=None),))
    (group,) = decide(request(endpoint=MESSAGES, reworded=Words()), board(made), Random(1)).primary
    assert len({one.lift for one in group.candidates}) == 1


def test_what_cannot_be_translated_drops_who_would_have_to() -> None:
    asked = request(endpoint=MESSAGES, reworded=Words(Obstacle("tools", "no such thing")))
    decision = decide(asked, board(MIXED), Random(1))
    assert [one.upstream.name for group in decision.primary for one in group.candidates] == ["speaks"]
    assert decision.drops == {"capability": 1}


def test_where_nobody_can_the_parameter_is_named() -> None:
    made = policy((upstream("chats", "gpu", engine="tgi"),), (rule(spill=None),))
    asked = request(endpoint=MESSAGES, reworded=Words(Obstacle("tools", "no such thing")))
    with pytest.raises(InvalidRequest) as refused:
        decide(asked, board(made), Random(1))
    assert (refused.value.param, refused.value.drops) == ("tools", {"capability": 1})
    assert "no such thing" in refused.value.message


def test_an_engine_that_is_found_later_decides_then() -> None:
    made = policy((upstream("auto", "gpu", engine="auto"),), (rule(spill=None),))
    asked = request(endpoint=MESSAGES, reworded=Words(Obstacle("tools", "no such thing")))
    assert decide(asked, board(made), Random(1)).primary
    with pytest.raises(InvalidRequest):
        decide(asked, board(made, auto={"reading": reading(engine="tgi")}), Random(1))
