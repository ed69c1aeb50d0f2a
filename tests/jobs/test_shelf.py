"""Jobs as their callers see them, on each kind of store."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import JobConflict, NoCapacity, NotFound, RateLimited, StoreFault
from gateway.jobs.durable import Durable
from gateway.store.connection import Store
from gateway.store.sealing import BadSeal
from tests.jobs.shelves import HOUR, Site, attempt
from tests.money.tills import NOON, Clock


async def test_a_job_is_read_as_it_was_accepted(store: Store) -> None:
    site = Site(store, Clock(NOON + 5000))
    job = await site.accept(body=b"a fox", webhook="https://example.com/h", size="1280x720")
    assert (job.state, job.created, job.expires) == ("queued", NOON / 1000 + 5, NOON / 1000 + 5 + 2 * HOUR)
    assert job.deadline == job.created + HOUR
    assert await site.shelf.body(job) == b"a fox"
    assert await site.shelf.read(job.id, "acme") == job
    assert b"a fox" not in repr(await store.call("HGETALL", f"gw:{{jobs}}:job:{job.id}")).encode()


async def test_its_own_deadline_holds_where_it_is_shorter(store: Store) -> None:
    site = Site(store, Clock())
    assert (await site.accept(deadline=NOON / 1000 + 60)).deadline == NOON / 1000 + 60
    assert (await site.accept(deadline=NOON / 1000 + 60 * HOUR)).deadline == NOON / 1000 + HOUR


async def test_ids_of_others_are_unknown(store: Store) -> None:
    site = Site(store)
    job = await site.accept()
    for id, tenant in ((job.id, "other"), (job.id[:-1] + "x", "acme"), (site.shelf.new_id("job_", "acme"), "acme")):
        with pytest.raises(NotFound):
            await site.shelf.read(id, tenant)
        with pytest.raises(NotFound):
            await site.shelf.cancel(id, tenant)
    assert (await site.shelf.page("other")) == ([], False)


async def test_the_same_key_and_body_bring_the_same_job(store: Store) -> None:
    site = Site(store)
    first = await site.accept(body=b"x", once="k")
    again = await asyncio.gather(*(site.accept(body=b"x", once="k") for _ in range(5)))
    assert {job.id for job in again} == {first.id}
    with pytest.raises(JobConflict):
        await site.accept(body=b"y", once="k")
    other = await site.accept("other", body=b"y", once="k")
    assert other.id != first.id
    assert b"k" not in [key for key in await store.call("KEYS", "*") if b"once" in key]


@pytest.mark.parametrize(("once", "state"), [(None, "cancelled"), ("k", "queued")])
async def test_who_is_told_no_has_no_job_unless_a_key_asks_for_it_again(
    store: Store, once: str | None, state: str
) -> None:
    class Slow(Durable):
        async def sync(self) -> None:
            raise StoreFault("not synced in time")

    site = Site(store, durable=Slow(store))
    with pytest.raises(NoCapacity):
        await site.accept(once=once)
    assert [job.state for job in (await site.shelf.page("acme"))[0]] == [state]


async def test_a_tenant_has_so_many_that_are_not_over(store: Store) -> None:
    site = Site(store, most=2)
    first = await site.accept()
    await site.accept()
    with pytest.raises(RateLimited):
        await site.accept()
    await site.accept("other")
    await site.shelf.cancel(first.id, "acme")
    await site.accept()


async def test_pages_begin_with_the_newest(store: Store) -> None:
    clock = Clock()
    site = Site(store, clock)
    ids = []
    for _ in range(5):
        ids.append((await site.accept()).id)
        clock.pass_(1)
    newest = ids[::-1]
    page, more = await site.shelf.page("acme", limit=2)
    assert ([job.id for job in page], more) == (newest[:2], True)
    page, more = await site.shelf.page("acme", after=newest[1], limit=3)
    assert ([job.id for job in page], more) == (newest[2:], False)
    with pytest.raises(NotFound):
        await site.shelf.page("acme", after="video_")


async def test_what_nobody_began_is_cancelled_at_once(store: Store) -> None:
    site = Site(store)
    job = await site.accept()
    ended = await site.shelf.cancel(job.id, "acme")
    assert ended.state == "cancelled"
    assert await site.shelf.cancel(job.id, "acme") == ended
    assert (await site.fences("r").take(5)).claims == []
    with pytest.raises(BadSeal):
        await site.shelf.body(ended)
    assert await site.shelf.fate(job.id, "a1") == "unsent"


async def test_what_somebody_began_is_asked_to_end(store: Store) -> None:
    site, fences = Site(store), Site(store).fences("r")
    job = await site.accept()
    (claim,) = (await fences.take(5)).claims
    assert (await site.shelf.cancel(job.id, "acme")).state == "queued"
    assert (await fences.beat([claim.fence]))[1] == {job.id: "cancel"}


async def test_time_ends_what_nobody_began_and_takes_old_records(store: Store) -> None:
    clock = Clock()
    site = Site(store, clock)
    waiting, begun = await site.accept(), await site.accept("other")
    fences = site.fences("r")
    claims = (await fences.take(2)).claims
    for claim in claims:
        if claim.job.id == waiting.id:
            await fences.release([claim.fence])
    clock.pass_(HOUR + 1)
    assert (await fences.sweep()).expired == 1
    assert (await site.shelf.read(waiting.id, "acme")).state == "expired"
    assert (await site.shelf.read(begun.id, "other")).state == "queued"
    clock.pass_(HOUR)
    assert (await fences.sweep()).due == [waiting.id]
    assert await site.shelf.forget([waiting.id, begun.id]) == 1
    assert await site.shelf.page("acme") == ([], False)
    with pytest.raises(NotFound):
        await site.shelf.read(waiting.id, "acme")
    assert (await fences.sweep()).due == []


async def test_what_became_of_an_attempt_is_told_by_its_job(store: Store) -> None:
    site, fences = Site(store), Site(store).fences("r")
    job = await site.accept()
    (claim,) = (await fences.take(1)).claims
    assert await site.shelf.fate(job.id, "a1") == "open"
    await fences.write(claim.fence, site.job(state="failed", tries=(attempt("a1"),)))
    fates = [await site.shelf.fate(job.id, "a1"), await site.shelf.fate(job.id, "kept, and died")]
    assert fates == ["unknown", "unsent"]
    await site.shelf.forget([job.id])
    assert await site.shelf.fate(job.id, "a1") == "unknown"


async def test_operators_see_what_may_have_been_bought(store: Store) -> None:
    site, fences = Site(store), Site(store).fences("r")
    job = await site.accept()
    assert [one.id for one in await site.shelf.unfinished()] == [job.id]
    (claim,) = (await fences.take(1)).claims
    lost = {"state": "failed", "error": ("unknown_outcome", "?"), "tries": (attempt(),)}
    await fences.write(claim.fence, site.job(**lost))
    assert [one.error for one in await site.shelf.unknown()] == [("unknown_outcome", "?")]
    assert await site.shelf.unfinished() == []


async def test_a_store_that_is_away_takes_no_job_in(store: Store) -> None:
    site = Site(Store("redis://127.0.0.1:1"))
    with pytest.raises(NoCapacity):
        await site.accept()


async def test_nothing_is_left_of_jobs_that_are_gone(store: Store) -> None:
    site, fences = Site(store), Site(store).fences("r")
    jobs = [await site.accept(once="k" if not n else None) for n in range(3)]
    for claim in (await fences.take(3)).claims:
        await fences.write(claim.fence, site.job(state="succeeded"))
    await site.shelf.forget([job.id for job in jobs])
    await fences.release([], leaving=True)
    left = {key.decode() for key in await store.call("KEYS", "gw:{jobs}:*") if b":once:" not in key}
    assert left <= {"gw:{jobs}:open", "gw:{jobs}:ring", "gw:{jobs}:sync"}


async def test_what_is_asked_has_so_much_room_and_a_tenant_half_of_it(store: Store) -> None:
    site = Site(store, room=4000)
    first = await site.accept(body=b"x" * 1500)
    with pytest.raises(NoCapacity):
        await site.accept(body=b"x" * 1500)
    await site.accept("other", body=b"x" * 1500)
    with pytest.raises(NoCapacity):
        await site.accept("third", body=b"x" * 1500)
    await site.shelf.cancel(first.id, "acme")
    (claim,) = (await site.fences("r").take(1)).claims
    await site.accept(body=b"x" * 1500)
    await site.shelf.cancel(claim.job.id, "other")
    assert claim.job.tenant == "other"


async def test_what_is_asked_travels_to_whoever_works_on_it_alone(valkey: Store) -> None:
    async def sent() -> int:
        lines = (await valkey.call("INFO", "stats")).decode().splitlines()
        return int(next(line for line in lines if line.startswith("total_net_output_bytes")).partition(":")[2])

    site = Site(valkey)
    jobs = [await site.accept(body=b"x" * 400_000) for _ in range(5)]
    before = await sent()
    assert len((await site.shelf.page("acme"))[0]) == len(await site.shelf.unfinished()) == 5
    await site.shelf.read(jobs[0].id, "acme")
    assert len((await site.fences("r").take(5)).claims) == 5
    assert await sent() - before < 100_000
    assert len(await site.shelf.body(jobs[0])) == 400_000


async def test_two_calls_are_the_same_by_what_their_caller_said(store: Store) -> None:
    site = Site(store)
    first = await site.shelf.accept(site.job(), b"under an older policy", once="k", said=b"a fox")
    again = await site.shelf.accept(site.job(), b"under a newer policy", once="k", said=b"a fox")
    assert again.id == first.id
    assert await site.shelf.body(again) == b"under an older policy"
    with pytest.raises(JobConflict):
        await site.shelf.accept(site.job(), b"under a newer policy", once="k", said=b"a cat")
