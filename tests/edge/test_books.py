"""What a request leaves behind, with the real objects around it and a store that is away."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.admission import Admission
from gateway.audit.chain import Chain
from gateway.audit.journal import Journal
from gateway.edge.account import Account, Attempt, Cost
from gateway.edge.books import Books
from gateway.edge.calibration import Calibration
from gateway.edge.services import Services
from gateway.errors import ConnectFailed, PermitMismatch, PermitRefused, Refused, Reset, UpstreamFault, UpstreamTimeout
from gateway.fleet.circuits import Circuits
from gateway.fleet.gpu_watch import GpuWatch
from gateway.fleet.leases import Leases, new_owner
from gateway.fleet.lessons import Forgetting, Lessons
from gateway.fleet.view import View
from gateway.flow import Flow
from gateway.joining import Joining
from gateway.model import Allowance, Hold, Lease, Match, MediaAsk, Policy, Quota, Share, Slo, Usage
from gateway.money.budgets import Budgets
from gateway.money.keyring import Keyring
from gateway.money.keys import Keys
from gateway.money.oidc_keys import IssuerKeys
from gateway.money.till import Till
from gateway.policy.issued import granted
from gateway.policy.live import LivePolicy
from gateway.receipts import Receipts
from gateway.reports.desk import Desk as ReportDesk
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.forecast import Pace
from gateway.routing.learn import MEMORY, PRIOR, PRIOR_WEIGHT
from gateway.settings import Settings
from gateway.siblings import Siblings
from gateway.store.connection import Store
from gateway.telemetry import TTFT_BUCKETS, Telemetry
from gateway.upstreams.client import Client
from gateway.upstreams.documents import document
from gateway.upstreams.gpu_pages import GpuPages
from gateway.versions.keeper import Versions
from tests.worlds import board, policy, request, rule, upstream

ROOT = Path(__file__).resolve().parents[2]
SLO = Slo(ttft=1.0, tpot=0.02)


def services_of(made: Policy) -> Services:
    store, telemetry = Store("redis://127.0.0.1:1"), Telemetry()
    leases = Leases(store, new_owner())
    view = View(store, leases, Lessons(store, Forgetting(PRIOR, PRIOR_WEIGHT, MEMORY)), lambda: made, Circuits())
    live = LivePolicy(ROOT / "policies" / "demo")
    return Services(
        Settings(),
        live,
        view,
        Admission(leases, Budgets(store), lambda: view.current),
        Client(),
        Receipts(store, 1 << 20, 1.0),
        Budgets(store),
        telemetry,
        Calibration(telemetry),
        Siblings(telemetry, None),
        Versions(store, leases.owner, live, None),
        Journal(Chain(b"", Path("/nonexistent"), "chain-000000000000")),
        GpuWatch(store, GpuPages(Client()).look),
        Joining(store, live),
        Till(store, leases.owner),
        Keys(""),
        Keyring(None, granted),
        IssuerKeys(document, list),
        ReportDesk(Settings()),
        Flow(store, leases.owner, TTFT_BUCKETS, view.now),
    )


class Desk:
    """One request that was admitted to `w1`, and its attempt."""

    def __init__(self, made: Policy, seen: Board | None = None, **asked: Any) -> None:
        self.services, self.policy = services_of(made), made
        self.board = seen or board(made)
        self.account = Account(request(arrived=time.monotonic(), **asked), "v1")
        self.decision = decide(self.account.request, self.board, Random(1))
        group = (self.decision.primary or self.decision.overflow)[0]
        self.lease = Lease("id", group.candidates[0], group, "w1@0", self.decision, 0.9)
        self.account.decision, self.account.lease = self.decision, self.lease
        self.attempt = Attempt("w1", "x", 10.0, ended=11.0, result="answered")
        self.account.attempts.append(self.attempt)
        self.books = Books(self.services, self.account)

    @property
    def lessons(self) -> Lessons:
        return self.services.view.lessons

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.services.telemetry.collect()
            for sample in family.samples
            if sample.name == name
        }


async def test_a_request_brings_its_rule_to_the_workers_it_came_to() -> None:
    desk = Desk(policy(rules=(rule("chat", slo=SLO),)))
    desk.books.came(desk.policy, desk.decision)
    assert desk.lessons._came == {(("gpu", "m"), "chat")}, "at home; the API that it may spill to learns nothing"


async def test_so_does_one_that_falls_back_to_other_workers() -> None:
    two = (upstream("w1", "gpu"), upstream("v1", "gpu2"))
    made = policy(two, (rule("chat", slo=SLO, spill=None, fallback=("gpu2",)),))
    desk = Desk(made, board(made, w1={"out": "down"}))
    assert desk.lease.group.outcome == "fallback"
    desk.books.came(made, desk.decision)
    assert desk.lessons._came == {(("gpu2", "m"), "chat")}


async def test_a_rule_with_a_fixed_limit_brings_none() -> None:
    desk = Desk(policy(rules=(rule("own", slo=SLO, learned=False),)))
    desk.books.came(desk.policy, desk.decision)
    assert not desk.lessons._came
    assert desk.books.ballot(desk.board, desk.decision, desk.lease, desk.attempt) is None


@pytest.mark.parametrize(
    ("asked", "votes"),
    [
        ({"max_tokens": 100}, True),
        ({}, True),
        ({"max_tokens": 0}, False),
        ({"max_tokens": 0, "endpoint": "audio/transcriptions", "media": MediaAsk(audio_seconds=9.0)}, True),
    ],
)
async def test_what_writes_nothing_does_not_vote(asked: dict[str, Any], votes: bool) -> None:
    """Counting tokens takes no GPU: its quick answers would raise the limit for everybody. Media writes no tokens, and
    takes a GPU all the same."""
    desk = Desk(policy(rules=(rule(slo=SLO),)), **asked)
    ballot = desk.books.ballot(desk.board, desk.decision, desk.lease, desk.attempt)
    assert (ballot is not None) is votes
    if ballot is not None:
        ballot.close("failed", None)


async def test_lengths_are_those_of_one_choice() -> None:
    desk = Desk(policy(), n=4, prompt_bytes=4200)
    desk.attempt.usage = desk.account.usage = Usage(1000, 400)
    desk.books.teach(desk.lease, desk.attempt)
    sums = desk.lessons._sums["m"]
    assert (sums.count, sums.prompt, sums.text, sums.output) == (1, 1000, 4200, 100)


@pytest.mark.parametrize(
    ("asked", "usage"),
    [
        ({"max_tokens": 0}, Usage(1000, 0)),
        ({"text_only": False}, Usage(1000, 100)),
        ({"endpoint": "audio/transcriptions", "media": MediaAsk()}, Usage(1000, 100)),
        ({}, Usage(1000, 100, estimated=True)),
        ({}, None),
    ],
)
async def test_what_is_guessed_or_no_text_teaches_no_lengths(asked: dict[str, Any], usage: Usage | None) -> None:
    desk = Desk(policy(), **asked)
    desk.attempt.usage = desk.account.usage = usage
    desk.books.teach(desk.lease, desk.attempt)
    assert desk.lessons._sums == {}


@pytest.mark.parametrize(
    ("n", "took", "met"),
    [(1, 2.9, "yes"), (1, 3.1, "no"), (4, 1.4, "yes"), (4, 2.9, "no")],
)
async def test_the_slo_is_counted_as_votes_are_judged(n: int, took: float, met: str) -> None:
    """100 tokens of one choice, or 25 of each of four that are written side by side, at 20 ms each after 1 s."""
    desk = Desk(policy(rules=(rule("chat", slo=SLO),)), n=n)
    desk.attempt.usage = desk.account.usage = Usage(10, 100)
    desk.attempt.ended = 10.0 + took
    desk.books.slo(desk.decision, desk.lease, desk.attempt, "done")
    assert desk.counted("gateway_slo_total") == {("chat", met): 1.0}


@pytest.mark.parametrize(("ending", "counted"), [("timeout", {("chat", "no"): 1.0}), ("failed", {}), ("left", {})])
async def test_endings_of_the_slo(ending: Any, counted: dict[tuple[str, ...], float]) -> None:
    desk = Desk(policy(rules=(rule("chat", slo=SLO, match=Match()),)))
    desk.attempt.ended = 10.5
    desk.books.slo(desk.decision, desk.lease, desk.attempt, ending)
    assert desk.counted("gateway_slo_total") == counted


async def test_an_answer_of_a_bought_api_is_no_matter_of_the_slo() -> None:
    desk = Desk(policy(rules=(rule("chat", slo=SLO),)))
    away = desk.decision.overflow[0]
    desk.attempt.usage = desk.account.usage = Usage(10, 100)
    desk.books.slo(desk.decision, replace(desk.lease, group=away), desk.attempt, "done")
    assert desk.counted("gateway_slo_total") == {}


@pytest.mark.parametrize(("attempts", "counted"), [(1, 1.0), (2, None)])
async def test_the_wait_is_compared_where_the_first_try_ended_it(attempts: int, counted: float | None) -> None:
    desk = Desk(policy())
    desk.account.visit.expected, desk.account.visit.waited = 1.0, 2.0
    desk.account.first_byte = time.monotonic()
    desk.account.attempts *= attempts
    desk.books.close()
    assert desk.counted("gateway_estimate_error_ratio_count").get(("wait",)) == counted


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        (Reset("cut off"), True),
        (ConnectFailed("nobody there"), True),
        (Refused(503, "busy"), False),
        (Refused(500, "failed"), True),
        (Refused(500, "failed", code="content_filter"), False),
        (Refused(400, "failed", code="invalid_request"), False),
        (Refused(401, "failed"), True),
        (UpstreamTimeout("first_byte", 300.0), True),
        (UpstreamTimeout("first_byte", 1.0), False),
        (UpstreamTimeout("total", 1.0, held=True), False),
    ],
)
async def test_what_an_upstream_did_wrong_counts_and_what_its_client_did_does_not(
    fault: UpstreamFault, counts: bool
) -> None:
    desk = Desk(policy())
    tries, view = desk.services.view.tries, desk.services.view
    for _ in range(3):
        desk.books.answered(desk.lease, desk.attempt)
    desk.books.fault(desk.lease, desk.attempt, fault)
    assert tries.errors("w1", view.now()) == pytest.approx(0.25 if counts else 0.0, abs=1e-3)
    assert tries.warm("w1", view.now()) == {"m"}


async def test_a_request_that_its_upstream_finds_wrong_counts_for_nobody() -> None:
    desk = Desk(policy())
    desk.attempt.result = "passed_on"
    for _ in range(5):
        desk.books.answered(desk.lease, desk.attempt)
    assert desk.services.view.tries.errors("w1", desk.services.view.now()) is None


async def test_the_board_knows_the_paces_and_where_the_gateway_is() -> None:
    desk = Desk(policy())
    desk.services.calibration.paces[("gpu", "m")] = Pace(2.0, 2.0)
    services = replace(desk.services, settings=Settings(zone="de"))
    board = services.board_of(desk.policy)
    assert board.paces == {("gpu", "m"): Pace(2.0, 2.0)}
    assert board.near()["eu"] == 0.5
    desk.services.calibration.paces[("gpu", "m")] = Pace()
    assert board.paces == {("gpu", "m"): Pace(2.0, 2.0)}, "a request sees one of them"


@pytest.mark.parametrize(
    ("free", "answer", "left"),
    [
        (True, None, 1.0),  # it never left
        (False, None, 0.0),  # nobody knows what became of it
        (False, [], 1.0),
        (True, [(b"x-ratelimit-limit-tokens", b"3000"), (b"x-ratelimit-remaining-tokens", b"600")], 0.2),
    ],
)
async def test_what_was_taken_of_an_accounts_limits_stays_taken_as_long_as_it_may_be(
    free: bool, answer: list[tuple[bytes, bytes]] | None, left: float
) -> None:
    made = policy((upstream("a1", "api"),), (rule(backends=("api",), spill=None),))
    desk = Desk(made, max_tokens=10**9)
    view, allowed = desk.services.view, Allowance("tokens", 3000, 3000, 600, False)
    view.headroom.told("a1", view.headroom.sent("a1", 10, view.now()), [allowed], view.now())
    desk.attempt.free = free
    desk.books.sent(desk.lease, desk.attempt)
    assert view.headroom.left("a1", view.now()) == 0.0
    if answer is not None:
        desk.books.told(desk.lease, desk.attempt, answer)
    desk.books.settle(desk.lease, desk.attempt)
    assert view.headroom.left("a1", view.now()) == pytest.approx(left, abs=0.01)


@pytest.mark.parametrize(
    ("result", "free", "counted"),
    [("client_left", False, 95), ("Reset", False, 95), ("ConnectFailed", True, None), ("lost", False, None)],
)
async def test_what_was_read_for_nobody_is_counted_all_the_same(result: str, free: bool, counted: int | None) -> None:
    """Who leaves before the first token would else have it for nothing, as often as it likes."""
    desk = Desk(policy())
    desk.attempt.result, desk.attempt.free = result, free
    desk.books.settle(desk.lease, desk.attempt)
    assert desk.account.usage is None
    assert (desk.account.counted and desk.account.counted.input_tokens) == counted


async def test_what_a_hard_budget_does_not_believe_is_counted_and_taught_to_nobody() -> None:
    desk = Desk(policy((upstream("a1", "api"),), (rule(backends=("api",), spill=None),)))
    quota = Quota("q", "usd", 10**6, "day")
    desk.attempt.usage, desk.attempt.free = Usage(100, 900_000, reasoning_tokens=899_950), False
    desk.books.settle(replace(desk.lease, hold=Hold("x", (Share(quota, 79, "d"),))), desk.attempt)
    assert desk.counted("gateway_usage_absurd_total") == {("a1",): 1.0}
    assert (desk.attempt.usage.absurd, desk.attempt.usage.estimated) == (True, True)
    assert desk.account.cost == Cost(79, "reserved")


@pytest.mark.parametrize(
    ("fault", "why"), [(PermitRefused("elsewhere"), "permit"), (PermitMismatch("not the one decided for"), None)]
)
async def test_only_a_peer_elsewhere_pauses_its_upstream(fault: UpstreamFault, why: str | None) -> None:
    """A permit that does not fit is a mistake of ours, and must not take the worker from everybody."""
    desk = Desk(policy())
    for _ in range(3):
        desk.books.fault(desk.lease, desk.attempt, fault)
    assert desk.services.view.circuits.why_open("w1", desk.services.view.now()) == why
