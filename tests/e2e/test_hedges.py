"""A second attempt beside a late one: who answers, what becomes of the other, and when there is none."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from gateway.edge.hedges import LEAST
from tests.e2e.stage import TOKENS, Stage, body, stage, words
from tests.gateways import KEY, LOCAL, Site, eventually
from tests.scripted import Fault, text

AFTER_SECONDS = 0.05
SOON = {"after": "50ms", "budget": 0.9}
NEVER, LATE = 60.0, 0.3
"""Seconds to a first token: never within a test, and after a hedge has begun."""
CANCELLED_SECONDS = 0.5
"""How long a loser may go on, as its worker sees it."""
CLOCK_STEPS_MS = 2.0
"""uvloop's timers go by a clock of whole milliseconds, read as a turn of the loop begins: one step at either end."""
QUICK = {"first_byte": "10s"}


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    routes = {
        "m": {"hedge": SOON, "timeouts": QUICK},
        "scarce": {"hedge": {"after": "50ms", "budget": 0.25}},
        "learned": {"hedge": {"after": "p95", "budget": 0.9}},
        "once": {"hedge": SOON, "attempts": 1},
        "strict": {"hedge": SOON, "slo": {"ttft_ms": 45}},
        "easy": {"hedge": SOON, "slo": {"ttft_ms": 5000}},
        "both": {"hedge": SOON, "rescue": True, "timeouts": {"idle": "300ms"}},
    }
    with stage(tmp_path_factory.mktemp("hedges"), 3, routes) as made:
        yield made


@pytest.fixture(autouse=True)
def healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    if "trio" not in request.fixturenames:
        yield
        return
    made: Stage = request.getfixturevalue("trio")
    made.rehearse()
    yield
    made.site.quiet("gpu")


def hedges(site: Site, outcome: str, rule: str = "m") -> float:
    return site.metric("gateway_hedges_total", rule=rule, outcome=outcome) or 0.0


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_the_other_one_answers(trio: Stage, path: str) -> None:
    won = hedges(trio.site, "won")
    trio.play.faults.append(Fault(first_delay=NEVER))
    events = trio.ask(path)
    answered = time.monotonic()
    assert words(events, path) == text(TOKENS)
    slow, quick = trio.play.seen
    assert slow.worker != quick.worker
    eventually(lambda: slow.ended, "the late one is cancelled", within=CANCELLED_SECONDS)
    assert slow.how == "left"
    assert slow.ended < answered  # it was cancelled as the other began to answer
    receipt = trio.receipt()
    lost, served = receipt["attempts"]
    assert (lost["result"], served["result"], served["role"]) == ("lost", "answered", "hedge")
    assert lost["usd"] > 0
    assert (receipt["chosen"], receipt["reason"], receipt["outcome"]) == (served["upstream"], "hedged", "local")
    assert served["at_ms"] - lost["at_ms"] >= AFTER_SECONDS * 1000 - CLOCK_STEPS_MS
    assert hedges(trio.site, "won") == won + 1
    assert min(trio.site.samples("gateway_upstream_up")) == 1.0


def test_the_first_one_answers_after_all(trio: Stage) -> None:
    lost = hedges(trio.site, "lost")
    trio.play.faults += [Fault(first_delay=LATE), Fault(first_delay=NEVER)]
    assert words(trio.ask()) == text(TOKENS)
    receipt = trio.receipt()
    assert [one["result"] for one in receipt["attempts"]] == ["answered", "lost"]
    assert (receipt["chosen"], receipt["reason"]) == (receipt["attempts"][0]["upstream"], "local_has_room")
    assert [seen.how for seen in trio.play.seen] == ["whole", "left"]
    assert hedges(trio.site, "lost") == lost + 1


def test_nobody_is_asked_twice_who_is_quick(trio: Stage) -> None:
    for _ in range(5):
        trio.ask()
    assert len(trio.play.seen) == 5


def test_both_fail_and_a_third_answers(trio: Stage) -> None:
    broken = Fault(first_delay=LATE, die_after=0)
    trio.play.faults += [broken, Fault(first_delay=LATE / 2, die_after=0)]
    assert words(trio.ask("completions"), "completions") == text(TOKENS)
    assert sorted(trio.results()) == ["Reset", "Reset", "answered"]
    assert len({seen.worker for seen in trio.play.seen}) == 3


def test_the_hedge_fails_and_the_late_one_answers(trio: Stage) -> None:
    trio.play.faults += [Fault(first_delay=LATE), Fault(die_after=0)]
    assert words(trio.ask("completions"), "completions") == text(TOKENS)
    assert trio.results() == ["answered", "Reset"]


def test_it_counts_within_the_attempts(trio: Stage) -> None:
    trio.rehearse("once")
    trio.play.faults.append(Fault(first_delay=LATE))
    assert words(trio.ask(model="once")) == text(TOKENS)
    assert len(trio.play.seen) == 1


def test_no_more_than_its_share(trio: Stage) -> None:
    count = 12
    for _ in range(count):
        trio.play.faults = [Fault(first_delay=AFTER_SECONDS * 2)]
        trio.ask(model="scarce", max_tokens=1)
    assert len(trio.play.seen) - count == count / 4
    assert hedges(trio.site, "no_budget", "scarce") == count - count / 4


def test_what_lasts_is_not_asked_of_two(trio: Stage) -> None:
    """`store` is removed towards our own workers, so it may; what a rule lets pass may not (tests/edge)."""
    trio.play.faults.append(Fault(first_delay=LATE))
    trio.ask(store=True)
    assert len(trio.play.seen) == 2


def test_a_whole_answer_is_late_by_what_was_learned(trio: Stage) -> None:
    for _ in range(LEAST):
        trio.post("chat/completions", model="learned", max_tokens=1)
    assert len(trio.play.seen) == LEAST
    trio.play.faults.append(Fault(first_delay=NEVER))
    answer = trio.post("chat/completions", model="learned", max_tokens=3)
    assert answer.json()["choices"][0]["message"]["content"] == text(3)
    assert trio.results() == ["lost", "answered"]
    assert answer.headers["x-gateway-reason"] == "hedged"
    assert answer.headers["x-gateway-upstream"] == trio.receipt()["chosen"]


def test_flagged_data_is_audited_for_both(trio: Stage) -> None:
    trio.play.faults.append(Fault(first_delay=NEVER))
    trio.ask(headers=LOCAL)
    assert trio.audited() == [f"w{seen.worker}" for seen in trio.play.seen]
    assert len(trio.audited()) == 2


def test_the_promise_counts_from_the_first_attempt(trio: Stage) -> None:
    """Its winner had a first token in time; its client waited longer. The one that lost is no second answer."""
    trio.rehearse("strict")

    def counted(met: str) -> float:
        return trio.site.metric("gateway_slo_total", rule="strict", met=met) or 0.0

    before = {met: counted(met) for met in ("yes", "no")}
    trio.play.faults.append(Fault(first_delay=NEVER))
    trio.ask(model="strict")
    assert trio.results() == ["lost", "answered"]
    assert {met: counted(met) - before[met] for met in before} == {"yes": 0, "no": 1}


def test_one_that_lost_in_time_says_nothing_of_its_worker(trio: Stage) -> None:
    trio.rehearse("easy")
    trio.play.faults.append(Fault(first_delay=NEVER))
    trio.ask(model="easy")
    assert trio.results() == ["lost", "answered"]
    assert trio.site.metric("gateway_votes_total", model="easy", met="no") is None


def test_a_client_that_leaves_cancels_both(trio: Stage) -> None:
    trio.play.faults += [Fault(first_delay=NEVER)] * 2
    with pytest.raises(httpx.ReadTimeout):
        trio.site.http.post("/v1/chat/completions", json=body(stream=True), timeout=LATE)
    eventually(lambda: len(trio.play.seen) == 2 and not trio.play.active, "both are free", within=CANCELLED_SECONDS)
    assert [seen.how for seen in trio.play.seen] == ["left", "left"]
    trio.site.quiet("gpu")


def test_a_hedged_stream_is_rescued_too(trio: Stage) -> None:
    trio.rehearse("both")
    trio.play.faults += [Fault(first_delay=NEVER), Fault(die_after=8)]
    assert words(trio.ask(model="both")) == text(TOKENS)
    assert trio.results() == ["lost", "broke_off", "rescued"]


def test_only_room_that_is_free_now(tmp_path: Path) -> None:
    with stage(tmp_path, 2, {"m": {"hedge": SOON}}, seats=1) as full:
        full.rehearse()
        full.play.faults += [Fault(hang_after=1), Fault(first_delay=LATE)]
        with ExitStack() as stack:
            held = stack.enter_context(full.site.http.stream("POST", "/v1/chat/completions", json=body(stream=True)))
            pieces = held.iter_bytes()  # one that is collected closes its connection
            next(pieces)
            assert words(full.ask()) == text(TOKENS)
        assert full.results() == ["answered"]
        assert hedges(full.site, "no_room") == 1
        full.site.quiet("gpu")


def test_the_place_of_the_one_that_lost_is_free_while_the_winner_streams(tmp_path: Path) -> None:
    with stage(tmp_path, 2, {"m": {"hedge": SOON}}, seats=1) as full:
        full.rehearse()
        full.play.faults += [Fault(first_delay=NEVER), Fault(hang_after=1)]
        with full.site.http.stream("POST", "/v1/chat/completions", json=body(stream=True)) as held:
            pieces = held.iter_bytes()  # one that is collected closes its connection
            next(pieces)
            assert len(full.play.seen) == 2
            assert words(full.ask()) == text(TOKENS)
            assert full.site.leases("gpu") == 1
        full.site.quiet("gpu")


def test_what_may_be_bought(tmp_path: Path) -> None:
    spill = {"backends": ["api"], "max_share": 0.99, "budget_usd_per_hour": 10.0}
    routes = {
        "m": {"hedge": SOON, "spill": spill},
        "kept": {"hedge": SOON},
        "poor": {"hedge": SOON, "spill": {"backends": ["api"], "budget_usd_per_hour": 0.0001}},
    }
    with stage(tmp_path, 1, routes, bought=True) as made:
        made.rehearse("kept")
        made.play.faults.append(Fault(first_delay=LATE))
        made.ask(model="kept")
        assert made.results() == ["answered"]  # its rule buys nothing

        made.rehearse("poor")
        made.play.faults.append(Fault(first_delay=LATE))
        made.ask(model="poor", max_tokens=1000)
        assert made.results() == ["answered"]  # nor has it the money

        made.rehearse()
        made.play.faults.append(Fault(first_delay=NEVER))
        made.ask()
        receipt = made.receipt()
        assert [one["result"] for one in receipt["attempts"]] == ["lost", "answered"]
        assert (receipt["outcome"], receipt["reason"], receipt["cost"]["basis"]) == ("spilled", "hedged", "list")

        before = made.site.metric("gateway_cost_usd_total", backend="api", basis="reserved") or 0.0
        made.play.faults += [Fault(first_delay=LATE), Fault(first_delay=NEVER)]
        made.ask()
        receipt = made.receipt()
        answered, lost = receipt["attempts"]
        assert (answered["result"], lost["result"], lost["upstream"]) == ("answered", "lost", "api")
        after = made.site.metric("gateway_cost_usd_total", backend="api", basis="reserved") or 0.0
        assert after - before == pytest.approx(lost["usd"])  # it may be charged in full
        assert lost["usd"] > receipt["cost"]["usd"]

        made.ask(headers=LOCAL)  # nobody else may have it
        made.play.faults.append(Fault(first_delay=LATE))
        made.ask(headers=LOCAL)
        assert made.results() == ["answered"]
        made.site.quiet("gpu", "api")


ENDINGS = (
    *[Fault()] * 16,
    *[Fault(first_delay=AFTER_SECONDS)] * 4,
    Fault(first_delay=LATE),
    Fault(first_delay=NEVER),
    Fault(die_after=0),
    Fault(die_after=5),
    Fault(first_delay=AFTER_SECONDS, die_after=0),
    Fault(fail_after=3),
    Fault(refuses=True),
)
MANY, AT_ONCE = 150, 24


async def _crowd(stage: Stage, rng: Random) -> Counter[str]:
    """Clients that come together; some of them leave. Every answer that ends well is whole."""
    free, seen = asyncio.Semaphore(AT_ONCE), Counter[str]()
    headers = {"Authorization": f"Bearer {KEY}"}

    async def one() -> None:
        async with free:
            stage.play.faults.append(rng.choice(ENDINGS))
            seconds = rng.choice((0.04, 0.1, 3.0, 3.0, 3.0))
            path, stream = rng.choice(("chat/completions", "completions")), rng.random() < 0.8
            asked: dict[str, Any] = body(path, model="both", stream=stream)
            try:
                answer = await http.post(f"/v1/{path}", json=asked, timeout=seconds)
            except httpx.TimeoutException:
                seen["left"] += 1
                return
            if not stream or "[DONE]" not in answer.text:
                seen[f"{answer.status_code}" if not stream else "broken"] += 1
                return
            events = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
            assert words(events, path) == text(TOKENS)
            seen["whole"] += 1

    limits = httpx.Limits(max_connections=AT_ONCE)
    base = {"base_url": stage.site.gateway.url, "headers": headers, "trust_env": False, "limits": limits}
    async with httpx.AsyncClient(**base) as http, asyncio.TaskGroup() as together:
        for _ in range(MANY):
            together.create_task(one())
    return seen


def test_nothing_is_left_behind_whatever_happens(trio: Stage) -> None:
    tasks = trio.site.metric("gateway_tasks") or 0.0
    seen = asyncio.run(_crowd(trio, Random(5)))
    assert seen["whole"] > MANY / 5, seen
    assert seen["left"] > 0
    trio.play.faults.clear()
    trio.site.quiet("gpu")
    eventually(lambda: not trio.play.active, "no worker works for nobody")
    eventually(lambda: (trio.site.metric("gateway_tasks") or 0.0) <= tasks + 2, "no task is left")
    assert "unhandled" not in trio.site.logged()
    assert "Traceback" not in trio.site.logged()
