"""An attempt at a worker that takes orders, for a caller who waits and for a job that is written down: real services,
a real worker's socket, and a client's end that remembers what it was given."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from random import Random
from typing import Any

import msgspec
import pytest

from gateway.edge.account import Account, Attempt
from gateway.edge.books import Books
from gateway.edge.filling import Filling
from gateway.edge.wire import JobEnd
from gateway.errors import DeadlineExceeded, InvalidRequest, Refused
from gateway.model import Lease, MediaAsk, Model, Served, Upstream, Usage, read_workflow
from gateway.routing.decide import decide
from gateway.upstreams.codes import STUCK_IN_QUEUE
from gateway.upstreams.dialects.ordered import dialect_of
from gateway.upstreams.orders import Log
from gateway.upstreams.results import Results, whole
from loadtests.simfleet.harness import SimFleet, start
from tests.edge.test_books import services_of
from tests.worlds import board, policy, request, rule, upstream

GRAPH = read_workflow(
    json.dumps({"1": {"class_type": "Text", "inputs": {"text": "{{prompt}}", "batch_size": "{{n}}"}}})
)
LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.fixture(scope="module")
def studio() -> Iterator[SimFleet]:
    worker = {"name": "w1", "engine": "comfyui", "unit_s": 0.05}
    with start(workers=[worker, {**worker, "name": "w2"}], managed=0) as fleet:
        yield fleet


@dataclass
class End:
    """A client's end; as a job's, what is written down is a line each."""

    lines: list[str] = field(default_factory=list)
    answered: list[tuple[int, bytes]] = field(default_factory=list)
    on_room: Any = None
    paused = False
    job: JobEnd | None = None

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.answered.append((status, body))

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], piece: bytes) -> None:
        raise AssertionError("an order is answered whole")

    def write(self, piece: bytes) -> None:
        raise AssertionError("an order is answered whole")

    def finish(self) -> None: ...

    def cut(self) -> None: ...


@dataclass
class Job(End):
    name: str = "job"
    open: str | None = None
    resumable: bool = True
    usage: Usage | None = None
    kept: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.job = self

    def attempt(self, upstream: Upstream) -> str | None:
        return None

    def log(self, attempt: str, upstream: Upstream) -> Log:
        self.lines.append(f"{attempt} at {upstream.name}")
        return Lines(self)

    def may_send(self) -> None:
        self.lines.append("may send")

    def ticket(self, upstream: Upstream) -> str | None:
        return self.open

    async def take(self, usage: Usage, results: Results) -> None:
        self.usage = usage
        self.kept = [data for _, data in await results.each(whole)]


@dataclass
class Lines:
    job: Job

    @property
    def resumable(self) -> bool:
        return self.job.resumable

    async def intent(self) -> None:
        self.job.lines.append("intent")

    async def ticket(self, text: str) -> None:
        self.job.lines.append("ticket")
        self.job.open = text

    async def progress(self, percent: int) -> None:
        self.job.lines.append(f"{percent} %")


class Desk:
    """One request that was admitted to `w1`, and its attempt."""

    def __init__(self, studio: SimFleet, fields: dict[str, Any] | None = None, **asked: Any) -> None:
        url = next(one.url for one in studio.workers if one.name == "w1")
        worker = upstream("w1", "gpu", url=url, networks=LOOPBACK, engine="comfyui")
        served = Served("gpu", "flux", workflow=GRAPH)
        made = policy((worker,), (rule(spill=None),), models={"m": Model("m", "image", (served,))})
        self.services = services_of(made)
        given = {"endpoint": "images/generations", "max_tokens": 0, "media": MediaAsk(), **asked}
        self.account = Account(request(arrived=time.monotonic(), **given), "v1")
        decision = decide(self.account.request, board(made), Random(1))
        group = decision.primary[0]
        self.lease = Lease("id", group.candidates[0], group, "w1@0", decision, 0.9)
        self.attempt = Attempt("w1", "a1", time.monotonic(), lease=self.lease)
        self.books = Books(self.services, self.account)
        said = {"prompt": "a cat"} | (fields or {})
        self.fields = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in said.items()}

    async def fill(self, end: End) -> None:
        filling = Filling(self.services, self.fields, self.account, self.books, list)
        dialect = dialect_of(self.lease.candidate.upstream, "images/generations")
        assert dialect is not None
        try:
            await filling.fill(self.lease, self.attempt, end, dialect)
        finally:
            await self.services.client.aclose()


@pytest.fixture
def desk(studio: SimFleet) -> Desk:
    return Desk(studio)


async def test_a_caller_who_waits_is_answered(desk: Desk) -> None:
    end, freed = End(), []
    desk.attempt.on_end = lambda: freed.append(not end.answered)
    await desk.fill(end)
    ((status, body),) = end.answered
    assert (status, len(json.loads(body)["data"])) == (200, 1)
    assert freed == [True], "its place is free before the caller has the answer"
    assert (desk.attempt.result, desk.attempt.status, desk.attempt.free) == ("answered", 200, False)
    assert desk.account.usage is not None
    assert desk.account.usage.images == 1
    assert desk.account.cost is not None
    assert desk.account.first_byte is not None


async def test_a_job_is_written_down_before_it_leaves_and_keeps_its_results(desk: Desk) -> None:
    job = Job()
    await desk.fill(job)
    assert job.lines[:4] == ["a1 at w1", "intent", "may send", "ticket"]
    assert [picture[:4] for picture in job.kept] == [b"\x89PNG"]
    assert job.usage is not None
    assert (job.usage.images, job.answered, desk.attempt.result) == (1, [], "answered")


async def test_a_job_with_a_ticket_is_not_placed_again(desk: Desk, studio: SimFleet) -> None:
    job = Job()
    await desk.fill(job)
    placed = studio.state("w1")["jobs"]["completed"]
    again = Job(open=job.open)
    await Desk(studio).fill(again)
    assert "intent" not in again.lines
    assert again.kept == job.kept
    assert studio.state("w1")["jobs"]["completed"] == placed


async def test_what_it_cannot_do_is_refused_before_anything_is_written_or_sent(studio: SimFleet) -> None:
    desk, job = Desk(studio, {"seed": 1}), Job()
    with pytest.raises(InvalidRequest):
        await desk.fill(job)
    assert (job.lines, desk.attempt.free) == (["a1 at w1"], True)


async def test_a_deadline_that_has_passed_asks_nobody(studio: SimFleet) -> None:
    desk = Desk(studio, deadline=time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        await desk.fill(End())
    assert desk.attempt.free


async def test_what_was_placed_before_may_cost_something_though_its_time_is_up(studio: SimFleet) -> None:
    desk = Desk(studio, deadline=time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        await desk.fill(Job(open="ended 00000000-0000-4000-8000-000000000000"))
    assert not desk.attempt.free


async def test_a_failed_job_leaves_its_caller_to_another_worker(desk: Desk, studio: SimFleet) -> None:
    studio.config("w1", fail_jobs=1.0)
    end = End()
    with pytest.raises(Refused):
        await desk.fill(end)
    studio.config("w1", clear=True)
    assert (end.answered, desk.attempt.free) == ([], False)


async def test_a_job_that_is_handed_over_goes_on_at_its_worker(desk: Desk, studio: SimFleet) -> None:
    studio.config("w1", slow=100.0)
    job = Job()
    task = asyncio.ensure_future(desk.fill(job))
    while job.open is None:
        await asyncio.wait({task}, timeout=0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert studio.state("w1")["running"] == 1
    job.resumable = False
    task = asyncio.ensure_future(Desk(studio).fill(job))
    await asyncio.wait({task}, timeout=0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    studio.config("w1", clear=True)
    assert studio.state("w1")["running"] == 0


async def test_a_model_that_nobody_begins_says_nothing_against_the_others_there(desk: Desk) -> None:
    view, name = desk.services.view, "w1"
    fault = Refused(503, "stuck", code=STUCK_IN_QUEUE)
    for _ in range(10):
        desk.books.fault(desk.lease, desk.attempt, fault)
    assert view.unloaded.names(name, None, view.now()) == {"flux"}
    assert view.current.states.get(name) is None or view.current.states[name].out is None
