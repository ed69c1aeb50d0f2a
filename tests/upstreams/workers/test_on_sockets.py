"""Orders at simulated workers, over real connections and under a permit: the whole way, and what can come between."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import msgspec
import pytest

from gateway.errors import OrderLost, PermitMismatch, Refused, UpstreamFault, UpstreamTimeout
from gateway.model import MediaAsk, Permit, Timeouts, Upstream
from gateway.upstreams import answers
from gateway.upstreams.client import Client, TooLong
from gateway.upstreams.desk import ClientDesk
from gateway.upstreams.dialects.ordered import dialect_of
from gateway.upstreams.dialects.ordering import Call, Dialect, Order, Picture, Piece, Told
from gateway.upstreams.orders import NotTaken, Patience, Unlogged, fill
from gateway.upstreams.results import Opened, Results, whole
from loadtests.simfleet.files import png
from loadtests.simfleet.harness import SimFleet, start
from tests import worlds

ENGINES = ("vllm-omni", "sglang-diffusion", "trtllm")
MODEL = "wan"
UNIT_S = 0.05
LOOPBACK = (ip_network("127.0.0.0/8"),)
PICTURE = Picture(data=png(64, 64), media_type="image/png", role="first_frame")


@pytest.fixture(scope="module")
def shared_studio() -> Iterator[SimFleet]:
    workers = [
        {"name": f"{engine}-{number}", "engine": engine, **({"makes": "video"} if engine == "trtllm" else {})}
        for engine in ENGINES
        for number in (1, 2)
    ]
    with start(workers=workers, managed=0, worker={"unit_s": UNIT_S, "model": MODEL, "max_queued": 1}) as fleet:
        yield fleet


@pytest.fixture
def studio(shared_studio: SimFleet) -> Iterator[SimFleet]:
    yield shared_studio
    for worker in shared_studio.workers:
        restart(shared_studio, worker.name)


def restart(studio: SimFleet, name: str) -> None:
    studio.config(name, die=True)
    studio.config(name, alive=True, clear=True)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    await made.aclose()


@dataclass
class Site:
    """One worker as an order sees it."""

    studio: SimFleet
    client: Client
    engine: str
    name: str
    most: int = 1 << 20
    permitted: bool = True
    heard: list[object] = field(default_factory=list)

    @property
    def upstream(self) -> Upstream:
        url = next(one.url for one in self.studio.workers if one.name == self.name)
        return worlds.upstream(self.name, "gpu", url=url, networks=LOOPBACK, engine=self.engine)

    @property
    def dialect(self) -> Dialect:
        found = dialect_of(self.upstream, "videos")
        assert found is not None
        return quick(found)

    def desk(self, seconds: float = 20.0) -> ClientDesk:
        upstream = self.upstream
        policy = replace(worlds.policy(), upstreams={upstream.name: upstream})
        permit = Permit("r1", policy.version, frozenset({upstream.name} if self.permitted else ()))
        return ClientDesk(
            client=self.client,
            permit=permit,
            policy=policy,
            request="r1",
            attempt="a1",
            upstream=upstream,
            timeouts=Timeouts(),
            until=time.monotonic() + seconds,
            most=self.most,
            heard=self.heard.append,
        )

    async def fill(
        self, order: Order, ticket: str | None = None, log: Unlogged | None = None, seconds: float = 20.0
    ) -> Told:
        desk = self.desk(seconds)
        patience = Patience(until=desk.until, queued=None, trouble=0.5)
        return await fill(
            desk, self.dialect, desk.upstream, order, patience=patience, ticket=ticket, log=log or Unlogged()
        )

    async def results(self, told: Told) -> list[tuple[Opened, bytes]]:
        return await Results(self.desk(), told.pieces, ()).each(whole)


def quick(dialect: Dialect) -> Dialect:
    made: Dialect = replace(dialect, poll_seconds=0.02)  # type: ignore[type-var]
    return made


def order(*pictures: Picture, seconds: float = 1, prompt: str = "a cat", **fields: object) -> Order:
    given = {"seconds": f"{seconds:g}", "size": "832x480", **fields}
    raw = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in given.items()}
    return Order(
        endpoint="videos", model=MODEL, ask=MediaAsk(seconds=seconds), prompt=prompt, fields=raw, pictures=pictures
    )


@pytest.fixture(params=ENGINES)
def site(request: pytest.FixtureRequest, studio: SimFleet, client: Client) -> Site:
    return Site(studio, client, request.param, f"{request.param}-1")


@pytest.mark.parametrize("pictures", [(), (PICTURE,)], ids=["text", "picture"])
async def test_a_film_comes_back(site: Site, pictures: tuple[Picture, ...]) -> None:
    told = await site.fill(order(*pictures, seconds=2))
    ((opened, film),) = await site.results(told)
    assert (opened.name, opened.media_type, opened.size) == ("video", "video/mp4", len(film))
    at = film.index(b"mvhd") + 16
    timescale, duration = struct.unpack_from(">II", film, at)
    assert duration / timescale == 2.0
    assert site.studio.state(site.name)["jobs"]["completed"] == 1
    assert site.heard


@dataclass
class Tickets(Unlogged):
    resumable = True
    seen: list[str] = field(default_factory=list)
    first: asyncio.Event = field(default_factory=asyncio.Event)

    async def ticket(self, text: str) -> None:
        self.seen.append(text)
        self.first.set()


async def test_another_process_goes_on_with_the_ticket_at_the_same_worker(site: Site) -> None:
    log = Tickets()
    task = asyncio.ensure_future(site.fill(order(seconds=10), log=log))
    await log.first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    told = await site.fill(order(seconds=10), ticket=log.seen[0])
    assert len(await site.results(told)) == 1
    jobs = site.studio.state(site.name)["jobs"]
    assert jobs == {"completed": 1, "failed": 0, "cancelled": 0}
    other = site.name.replace("-1", "-2")
    assert not [one for one in site.studio.requests(other) if "/videos" in one["path"]]


async def test_a_worker_that_was_restarted_lost_its_job(site: Site) -> None:
    log = Tickets()
    task = asyncio.ensure_future(site.fill(order(seconds=100), log=log))
    await log.first.wait()
    await asyncio.to_thread(restart, site.studio, site.name)
    with pytest.raises(OrderLost) as lost:
        await task
    assert lost.value.code == "job_lost"
    assert answers.retryable("local", lost.value)


async def test_a_worker_that_is_gone_is_given_up_after_a_while(site: Site) -> None:
    log = Tickets()
    task = asyncio.ensure_future(site.fill(order(seconds=100), log=log))
    await log.first.wait()
    site.studio.config(site.name, die=True)
    with pytest.raises(OrderLost):
        await task


async def test_a_failed_job_is_a_fault(site: Site) -> None:
    site.studio.config(site.name, fail_jobs=1.0)
    with pytest.raises(Refused) as failed:
        await site.fill(order())
    assert answers.retryable("local", failed.value)


async def test_a_full_queue_refuses(site: Site) -> None:
    logs = [Tickets(), Tickets()]
    tasks = []
    for log in logs:
        tasks.append(asyncio.ensure_future(site.fill(order(seconds=100), log=log)))
        await log.first.wait()
    with pytest.raises(Refused) as full:
        await site.fill(order())
    assert full.value.status == 503
    assert answers.busy("local", full.value)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_caller_who_leaves_ends_the_work_where_it_can_be_ended(site: Site) -> None:
    log = Tickets()
    log.resumable = False
    task = asyncio.ensure_future(site.fill(order(seconds=100), log=log))
    await log.first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = site.studio.state(site.name)
    assert state["running"] == (1 if site.engine == "sglang-diffusion" else 0)


async def test_what_is_not_done_in_time_is_taken_back(site: Site) -> None:
    with pytest.raises(UpstreamTimeout):
        await site.fill(order(seconds=100), seconds=0.3)
    state = site.studio.state(site.name)
    assert state["running"] == (1 if site.engine == "sglang-diffusion" else 0)


async def test_what_a_worker_refuses_is_the_callers_to_mend(site: Site) -> None:
    with pytest.raises(NotTaken) as refused:
        await site.fill(order(prompt=""))
    assert refused.value.answer.status in (400, 422)


async def test_nothing_leaves_without_a_permit(site: Site) -> None:
    site.permitted, before = False, len(site.studio.requests(site.name))
    with pytest.raises(PermitMismatch):
        await site.fill(order())
    with pytest.raises(OrderLost):
        await site.results(Told(state="succeeded", pieces=(Piece("video/mp4", call=Call("GET", "v1/videos/x")),)))
    assert len(site.studio.requests(site.name)) == before


async def test_a_result_that_is_too_large_is_not_held(site: Site) -> None:
    told = await site.fill(order())
    site.most = 100
    with pytest.raises(OrderLost) as lost:
        await site.results(told)
    assert isinstance(lost.value.__cause__, TooLong)


async def test_a_result_that_breaks_off_is_asked_for_anew(site: Site) -> None:
    told = await site.fill(order())
    tries: list[bytes] = []

    async def keep(opened: Opened) -> bytes:
        _, data = await whole(opened)
        tries.append(data)
        if len(tries) == 1:
            raise UpstreamFault("broke off")
        return data

    (film,) = await Results(site.desk(), told.pieces, ()).each(keep)
    assert tries == [film, film]


ODD_IDS: list[Callable[[str], str]] = [lambda id: f"../{id}", lambda id: f"{id}?x", lambda id: f"{id}\r\nx: y"]


@pytest.mark.parametrize("odd", ODD_IDS)
async def test_an_odd_ticket_leads_nowhere(site: Site, odd: Callable[[str], str]) -> None:
    with pytest.raises(OrderLost):
        await site.fill(order(), ticket=odd("v"))
