"""Which rule a request meets: windows of the week, sizes, headers and conditions, and that the first match wins."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.model import GenRequest, Match, Model, Rule, Tenant, Window
from gateway.policy.cel import compile_condition
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.estimate import output_tokens, prompt_tokens
from gateway.routing.matching import is_open
from gateway.routing.plan import plan_of
from gateway.routing.residency import strictest
from tests.worlds import board, policy, request, rule, upstream

MON, TUE, SAT, SUN = 0, 1, 5, 6
UTC, BERLIN, KOLKATA = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
EVERY = frozenset(range(7))
MIDNIGHT = 24 * 60


def minutes(clock: str) -> int:
    hours, rest = clock.split(":")
    return int(hours) * 60 + int(rest)


def window(begin: str, end: str, days: frozenset[int] = EVERY, zone: ZoneInfo = UTC) -> Window:
    return Window(days, minutes(begin), minutes(end), zone)


NIGHT = window("22:00", "06:00")
WEEKEND_NIGHT = window("22:00", "06:00", frozenset({SAT}))
WORK = window("09:00", "17:30", frozenset(range(5)), BERLIN)
EARLY = window("01:30", "03:30", zone=BERLIN)


@pytest.mark.parametrize(
    ("which", "at", "expected"),
    [
        (window("00:00", "24:00"), "2026-11-22T23:59:59+00:00", True),
        (window("00:00", "24:00", frozenset({MON})), "2026-11-22T23:59:59+00:00", False),
        (window("00:00", "24:00", frozenset({MON})), "2026-11-23T00:00:00+00:00", True),
        (window("09:00", "17:00"), "2026-11-23T09:00:00+00:00", True),
        (window("09:00", "17:00"), "2026-11-23T08:59:59+00:00", False),
        (window("09:00", "17:00"), "2026-11-23T16:59:59+00:00", True),
        (window("09:00", "17:00"), "2026-11-23T17:00:00+00:00", False),
        (NIGHT, "2026-11-23T21:59:59+00:00", False),
        (NIGHT, "2026-11-23T22:00:00+00:00", True),
        (NIGHT, "2026-11-24T05:59:59+00:00", True),
        (NIGHT, "2026-11-24T06:00:00+00:00", False),
        (WEEKEND_NIGHT, "2026-11-21T23:00:00+00:00", True),  # a Saturday
        (WEEKEND_NIGHT, "2026-11-22T05:00:00+00:00", True),  # belongs to the Saturday on which it began
        (WEEKEND_NIGHT, "2026-11-21T05:00:00+00:00", False),
        (WEEKEND_NIGHT, "2026-11-22T23:00:00+00:00", False),
        (window("22:00", "00:00", frozenset({SUN})), "2026-11-22T23:59:59+00:00", True),
        (window("22:00", "00:00", frozenset({SUN})), "2026-11-23T00:00:00+00:00", False),
        (WORK, "2026-11-23T08:00:00+00:00", True),  # 09:00 in winter
        (WORK, "2026-07-06T07:00:00+00:00", True),  # 09:00 in summer
        (WORK, "2026-07-06T15:30:00+00:00", False),  # 17:30
        (window("00:00", "01:00", frozenset({TUE}), KOLKATA), "2026-11-23T18:30:00+00:00", True),  # half an hour zone
        # 2026-03-29: 02:00 becomes 03:00 in Berlin, at 01:00 UTC.
        (EARLY, "2026-03-29T00:29:59+00:00", False),
        (EARLY, "2026-03-29T00:30:00+00:00", True),
        (EARLY, "2026-03-29T01:00:00+00:00", True),  # 03:00
        (EARLY, "2026-03-29T01:30:00+00:00", False),  # 03:30: one hour long that night
        # 2026-10-25: 03:00 becomes 02:00, at 01:00 UTC.
        (EARLY, "2026-10-24T23:30:00+00:00", True),  # 01:30
        (EARLY, "2026-10-25T00:30:00+00:00", True),  # 02:30, the first time
        (EARLY, "2026-10-25T01:30:00+00:00", True),  # 02:30, the second time
        (EARLY, "2026-10-25T02:29:59+00:00", True),
        (EARLY, "2026-10-25T02:30:00+00:00", False),  # 03:30: three hours long that night
    ],
)
def test_a_window_is_open(which: Window, at: str, expected: bool) -> None:
    assert is_open(which, datetime.fromisoformat(at).timestamp()) is expected


@given(st.integers(0, 4_000_000_000), st.sampled_from([NIGHT, WEEKEND_NIGHT, WORK, EARLY]))
def test_a_window_and_the_rest_of_the_week_are_never_both_open(at: int, which: Window) -> None:
    """What is not in a window is in its complement: the same days from end to begin, and all of the other days."""
    there = datetime.fromtimestamp(at, which.timezone)
    minute_of_week = there.weekday() * MIDNIGHT + there.hour * 60 + there.minute
    length = (which.end - which.begin) % MIDNIGHT or MIDNIGHT
    inside = any((minute_of_week - day * MIDNIGHT - which.begin) % (7 * MIDNIGHT) < length for day in which.days)
    assert is_open(which, at) is inside


def met(made: Board, **changes: Any) -> str:
    return plan_of(request(**changes), made).rule.name


def rules(*matches: Match) -> Board:
    made = [rule(f"r{number}", match=match) for number, match in enumerate(matches)]
    return board(policy(rules=(*made, rule("rest"))), at=1_000_000.0)


@pytest.mark.parametrize(
    ("match", "changes", "expected"),
    [
        (Match(prompt_tokens=(100, None)), {"prompt_bytes": 420}, True),
        (Match(prompt_tokens=(101, None)), {"prompt_bytes": 420}, False),
        (Match(prompt_tokens=(None, 100)), {"prompt_bytes": 420}, True),
        (Match(prompt_tokens=(None, 99)), {"prompt_bytes": 420}, False),
        (Match(prompt_tokens=(None, 100)), {"prompt_bytes": 4200, "whole": (420, None)}, True),
        (Match(output_tokens=(50, None)), {"max_tokens": 1, "whole": (420, 50)}, True),
        (Match(when=compile_condition("request.max_tokens == 50")), {"max_tokens": 1, "whole": (420, 50)}, True),
        (Match(output_tokens=(50, 100)), {"max_tokens": 50, "n": 2}, True),
        (Match(output_tokens=(50, 99)), {"max_tokens": 50, "n": 2}, False),
        (Match(headers=(("x-team", "sea*"),)), {"headers": {"x-team": "search"}}, True),
        (Match(headers=(("x-team", "Sea*"),)), {"headers": {"x-team": "search"}}, False),
        (Match(headers=(("x-team", "*"),)), {}, False),
        (Match(headers=(("x-a", "1"), ("x-b", "2"))), {"headers": {"x-a": "1"}}, False),
        (Match(headers=(("x-a", "1"), ("x-b", "2"))), {"headers": {"x-a": "1", "x-b": "2"}}, True),
        (Match(modality=("text",)), {}, True),
        (Match(modality=("image",)), {}, False),
        (Match(tags=frozenset({"gold"})), {"tenant": Tenant("t", tags=frozenset({"gold", "eu"}))}, True),
        (Match(time=(window("13:00", "14:00"),)), {}, True),  # 1970-01-12T13:46:40Z
        (Match(time=(window("14:00", "15:00"),)), {}, False),
        (Match(time=(window("14:00", "15:00"), window("13:00", "14:00"))), {}, True),
        (Match(when=compile_condition("request.prompt_tokens > 99 && fleet.up == 2")), {"prompt_bytes": 420}, True),
        (Match(when=compile_condition("request.prompt_tokens > 100")), {"prompt_bytes": 420}, False),
        (Match(when=compile_condition("fleet.gpu_util > 0.1")), {}, False),
        (Match(prompt_tokens=(1, None), when=compile_condition("request.stream")), {"stream": True}, True),
        (Match(prompt_tokens=(None, 1), when=compile_condition("request.stream")), {"stream": True}, False),
    ],
)
def test_a_match_of_the_very_request(match: Match, changes: dict[str, Any], expected: bool) -> None:
    assert met(rules(match), **changes) == ("r0" if expected else "rest")


def test_requests_that_ask_alike_may_meet_different_rules_and_share_their_plans() -> None:
    made = rules(Match(prompt_tokens=(1000, None)), Match(headers=(("x-team", "a"),)))
    long, mine, other = request(prompt_bytes=9_000), request(headers={"x-team": "a"}), request()
    plans = [plan_of(one, made) for one in (long, mine, other)]
    assert [plan.rule.name for plan in plans] == ["r0", "r1", "rest"]
    assert [plan_of(one, made) for one in (long, mine, other)] == plans
    assert plan_of(long, made) is plans[0]
    assert len(made.courses) == 1


def test_nothing_is_kept_behind_the_first_rule_that_asks_nothing_further() -> None:
    made = rules(Match(), Match(prompt_tokens=(1, None)))
    assert met(made) == "r0"
    (courses,) = made.courses.values()
    assert [course.rule.name for course in courses] == ["r0"]


def test_no_rule_that_matches_is_404_each_time() -> None:
    made = board(policy(rules=(rule(match=Match(prompt_tokens=(10_000, None))),)))
    for _ in range(2):
        with pytest.raises(GatewayError) as caught:
            decide(request(), made, Random(1))
        assert caught.value.code == "model_not_found"


def test_a_condition_moves_the_decision_with_the_load() -> None:
    busy = compile_condition("fleet.load > 0.8 && request.priority != 'interactive'")
    made = policy(rules=(rule("buy", match=Match(when=busy), backends=("api",), spill=None), rule("home")))
    idle, full = board(made), board(made, w1={"leased": 900_000}, w2={"leased": 900_000})
    assert decide(request(), idle, Random(1)).rule.name == "home"
    assert decide(request(), full, Random(1)).rule.name == "buy"
    assert decide(request(priority="interactive"), full, Random(1)).rule.name == "home"


Facts = dict[str, dict[str, Any]]
NAIVE: dict[str, Callable[[Facts], bool]] = {
    "request.prompt_tokens > 500": lambda f: f["request"]["prompt_tokens"] > 500,
    "request.stream || 'x-team' in request.headers": lambda f: (
        f["request"]["stream"] or "x-team" in f["request"]["headers"]
    ),
    "request.headers['x-team'] == 'a'": lambda f: f["request"]["headers"].get("x-team") == "a",
    "!(request.headers['x-b'] == 'a')": lambda f: f["request"]["headers"].get("x-b", "a") != "a",
    "request.headers['x-team'].matches('^[a-c]$')": lambda f: f["request"]["headers"].get("x-team") in ("a", "b"),
    "fleet.load > 0.8": lambda f: f["fleet"]["load"] > 0.8,
    "fleet.kv_util < 0.5": lambda f: False,
    "backend.api.price_usd > 0.0001": lambda f: f["backend"]["api"]["price_usd"] > 0.0001,
    "'gold' in tenant.tags": lambda f: "gold" in f["tenant"]["tags"],
    "has(request.max_tokens) && request.max_tokens > 50": lambda f: (f["request"]["max_tokens"] or 0) > 50,
}
"""What each condition says, in Python; a reading that nobody published makes what depends on it not hold."""
CONDITIONS = [compile_condition(text, ("gpu", "api")) for text in NAIVE]
bounds = st.none() | st.tuples(st.none() | st.integers(0, 500), st.none() | st.integers(200, 900))
matchings = st.builds(
    Match,
    model=st.sampled_from([(), ("m",), ("x*",)]),
    modality=st.sampled_from([(), ("text",), ("image",)]),
    tags=st.sampled_from([frozenset(), frozenset({"gold"})]),
    stream=st.none() | st.booleans(),
    prompt_tokens=bounds,
    output_tokens=bounds,
    headers=st.sampled_from([(), (("x-team", "a"),), (("x-team", "*"), ("x-b", "?")), (("x-b", "[b]"),)]),
    time=st.sampled_from([(), (window("13:00", "14:00"),), (window("14:00", "15:00"), NIGHT)]),
    when=st.none() | st.sampled_from(CONDITIONS),
)
requests = st.builds(
    request,
    prompt_bytes=st.integers(0, 8_000),
    max_tokens=st.none() | st.integers(0, 900),
    stream=st.booleans(),
    headers=st.dictionaries(st.sampled_from(["x-team", "x-b"]), st.sampled_from(["a", "b", "cc", "[b]"])),
    tenant=st.sampled_from([Tenant("t"), Tenant("t", tags=frozenset({"gold"}))]),
)


def is_like(text: str, glob: str) -> bool:
    """`*` is anything, `?` one character, as a regular expression of Python."""
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in glob), text) is not None


def naively(match: Match, asked: GenRequest, made: Board, which: Rule) -> bool:
    """Every key of a match, evaluated afresh; `when` on facts written down here."""
    learned, model = made.known("m"), made.policy.models["m"]
    sizes = ((prompt_tokens(asked, learned), match.prompt_tokens), (output_tokens(asked, learned), match.output_tokens))
    return (
        (not match.model or any(is_like("m", glob) for glob in match.model))
        and (not match.modality or "text" in match.modality)
        and match.tags <= asked.tenant.tags
        and match.stream in (None, asked.stream)
        and all(not told or (told[0] or 0) <= size <= (10**9 if told[1] is None else told[1]) for size, told in sizes)
        and all(name in asked.headers and is_like(asked.headers[name], glob) for name, glob in match.headers)
        and (not match.time or any(one.begin == 13 * 60 for one in match.time))
        and (match.when is None or NAIVE[match.when.source](plain_facts(asked, made, model, which)))
    )


def plain_facts(asked: GenRequest, made: Board, model: Model, which: Rule) -> dict[str, dict[str, Any]]:
    learned = made.known("m")
    price = next(served.price for served in model.served_by if served.backend == "api")
    assert price is not None
    sizes = prompt_tokens(asked, learned), output_tokens(asked, learned)
    usd = (price.tokens.input * sizes[0] + price.tokens.output * sizes[1]) / 1e12
    return {
        "request": {
            "prompt_tokens": sizes[0],
            "stream": asked.stream,
            "headers": dict(asked.headers),
            "max_tokens": asked.max_tokens,
        },
        "tenant": {"tags": list(asked.tenant.tags)},
        "fleet": {"load": 0.95 if which.backends == ("gpu2", "gpu") else 0.75},  # of 0.5, 1.0 and 1.35
        "backend": {"api": {"price_usd": usd}},
    }


@given(
    st.lists(st.tuples(matchings, st.sampled_from([("gpu",), ("api",), ("gpu2", "gpu")])), max_size=6),
    st.lists(requests, max_size=6),
)
def test_the_rule_met_is_the_first_whose_whole_match_holds(
    made: list[tuple[Match, tuple[str, ...]]], asked: list[GenRequest]
) -> None:
    told = [rule(f"r{i}", match=match, backends=backends, learned=False) for i, (match, backends) in enumerate(made)]
    workers = (upstream("w1", "gpu"), upstream("w2", "gpu"), upstream("w3", "gpu2"), upstream("a1", "api"))
    world = policy(workers, rules=(*told, rule("rest")))
    model = world.models["m"]
    served = tuple(one for one in model.served_by if one.backend != "gpu2")
    world = replace(world, models={"m": replace(model, served_by=served)})
    seen = board(world, at=1_000_000.0, w1={"leased": 500_000}, w2={"leased": 1_000_000}, w3={"leased": 1_350_000})
    for one in asked:
        expected = next(which for which in world.rules if naively(which.match, one, seen, which))
        plan = plan_of(one, seen)
        assert plan.rule is expected
        assert plan.demand == strictest(one.residency, expected.residency)
