"""Leases: who uses what part of which upstream now, shared by all replicas through the store.

One `Leases` per process. The store's part is the scripts beside this file (`lib.lua` describes keys and recovery); this
side knows its own leases exactly (`live`), beats once a second, and writes them back every five seconds and whenever
the store does not know it. So a failed call needs no repair of its own: the next write-back makes the store true.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import StoreFault
from gateway.fleet.book import AT_ONCE, Book, Sums, slot_name
from gateway.model import LOAD_WEIGHT, Candidate
from gateway.store.connection import Store
from gateway.store.scripts import Script, load
from gateway.store.target import Value

BEAT_SECONDS = 1.0
WRITE_BACK_SECONDS = 5.0
SPACING_SECONDS = 0.05
"""Least time between two beats: what is admitted without the store comes in bursts, and one write-back tells it all."""
ABSENCE_SECONDS = 4.0
"""EXPIRY_MS of lib.lua: a replica that has not come back by then is dead."""
WAIT_MS = 2500
"""For so long a replica is told of places that came free after it last said that somebody waits there: two beats."""
_ACQUIRE, _BEAT, _RECONCILE = (load("gateway.fleet", "lib", name) for name in ("acquire", "beat", "reconcile"))
_RESIZE, _RELEASE, _LOOK, _WAIT = (
    load("gateway.fleet", "lib", "waits", name) for name in ("resize", "release", "look", "wait")
)
_KEYS = ("leases", "load", "count", "beats", "epoch", "waits")
_LEASE_KEYS = 5
"""So many of them are about leases; `waits` is for those scripts that tell who waits, or who is to hear of it."""


def room_channel(owner: str) -> str:
    """The channel on which a replica hears the names of backends that may have room for it (waits.lua)."""
    return f"gw:room:{owner}"


def new_owner() -> str:
    """A name for this process that no other process has."""
    return secrets.token_hex(6)


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to `acquire`. `leased` (GPU-us) and `counts` are what was there before, in candidate order.

    `index` is None where none had room or, with `recovering`, while the sums are incomplete: treat that as degraded.
    """

    index: int | None
    leased: tuple[int, ...]
    counts: tuple[int, ...]
    recovering: bool = False
    alone: bool = False
    """Decided without the store: `leased` is as old as the last snapshot, and says nothing about how full it was."""


class Leases:
    """This replica's leases. Calls that need an answer raise StoreFault; `release` and the heartbeat never raise.

    `fresh`: this process (or its parent) started the store on an empty folder. `clock` is monotonic seconds; `store_ms`
    replaces the store's clock in tests (0: its own).
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        *,
        fresh: bool = False,
        clock: Callable[[], float] = time.monotonic,
        store_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self._store = store
        self.owner = owner
        self._fresh = fresh
        self._clock = clock
        self._store_ms = store_ms
        self._made = 0
        self._books: dict[str, Book] = {}
        self._telling: set[asyncio.Future[None]] = set()
        self._wake = asyncio.Event()
        store.listen(self._store_changed)

    @property
    def live(self) -> Mapping[str, Mapping[str, tuple[str, int]]]:
        """Backend -> lease id -> (slot, work): exactly what this replica holds."""
        return {name: book.live for name, book in self._books.items()}

    def new_id(self) -> str:
        """A lease id: the owner's name and a number that only grows, which tells a write-back what it may judge."""
        self._made += 1
        return f"{self.owner}:{self._made}"

    async def acquire(
        self, backend: str, lease_id: str, candidates: Sequence[Candidate], load_weight: float = LOAD_WEIGHT
    ) -> Grant:
        """Take a lease on the best of `candidates` (all of `backend`, at most MAX_SAMPLED, shuffled) that has room.
        `load_weight`: what a wholly free worker has before a full one.

        Raises StoreFault; then, and when cancelled, a lease that the store may have granted all the same is released.
        """
        book = self._book(backend)
        if not candidates:
            return Grant(None, (), ())
        if book.returned_at is not None:
            return Grant(None, (), (), recovering=True)
        book.unsettled.add(lease_id)
        try:
            reply = await self._store.eval(_ACQUIRE, book.keys, self._request(book, lease_id, candidates, load_weight))
        except BaseException:
            self._leave(book, lease_id)
            raise
        finally:
            book.unsettled.discard(lease_id)
        index, known, recovering = reply[:3]
        self._heard(book, known=known, recovering=recovering)
        if index:
            taken = candidates[index - 1]
            book.hold(lease_id, slot_name(taken.upstream.name, taken.life), min(taken.work, taken.limit))
        return Grant(index - 1 if index else None, tuple(reply[3::2]), tuple(reply[4::2]), bool(recovering))

    def adopt(self, backend: str, lease_id: str, candidate: Candidate) -> None:
        """Hold a lease that was admitted without the store, which is told as soon as it can be."""
        book, slot = self._book(backend), slot_name(candidate.upstream.name, candidate.life)
        book.hold(lease_id, slot, min(candidate.work, candidate.limit))
        self._write_back_soon(book)

    def room(self, backend: str, candidate: Candidate) -> int:
        """`degraded_room` of this candidate, its outside work counted; none without a free seat, found in the same way.

        0 until there has been a complete view of the store. Where the last one is not complete, both must leave room:
        the older keeps this replica to its share, the newer tells what the others have taken since.
        """
        book, slot = self._book(backend), slot_name(candidate.upstream.name, candidate.life)
        if book.whole is None:
            return 0
        views = (book.whole,) if book.partial is None else (book.whole, book.partial)
        return min(view.room(candidate, slot, book.replicas) for view in views)

    def release(self, backend: str, lease_id: str, *, tell: bool = True) -> int | None:
        """Give a lease back: known here at once, in the store with this turn's batch. Never waits. What that frees
        (GPU-us), None where it was given back before. `tell`: the place is for a replica elsewhere, if one waits."""
        book = self._book(backend)
        freed = book.free(lease_id)
        if freed is not None:
            book.left_over += tell
            self._leave(book, lease_id)
        return freed

    def resize(self, backend: str, lease_id: str, work: int, *, tell: bool = True) -> int:
        """Hold `work` from now on: known here at once, in the store with this turn's batch. Never waits; an id that
        is not held changes nothing. What that frees, GPU-us; `tell` as in `release`."""
        book = self._book(backend)
        freed = book.resize(lease_id, work)
        if freed:
            if not book.resized:
                asyncio.get_running_loop().call_soon(self._send_resizes, book)
            book.left_over += tell and freed > 0
            book.resized[lease_id] = work
        return freed

    def wait(self, backend: str, waits: bool) -> None:
        """Requests of this replica wait for room there, and it wants to be told; or none do any more. Never waits."""
        book = self._book(backend)
        book.waits = waits
        self._say_waits(book)

    def elsewhere(self, backend: str) -> int:
        """Number of other replicas whose requests wait for room there, as of the last look at the store."""
        return self._book(backend).elsewhere

    def taken(self, backend: str, upstream: str, life: int) -> int:
        """Work (GPU-us) that this replica took there since its last look at the store, less what it gave back."""
        book = self._book(backend)
        view = book.whole if book.partial is None else book.partial
        return 0 if view is None else view.since.get(slot_name(upstream, life), (0, 0))[0]

    async def loads(self, backends: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Slot -> (leased work, leases) of all replicas together, in one pipeline."""
        books = [self._book(backend) for backend in backends]
        now = self._clock()
        asked = [(book, book.returned_at) for book in books]
        answers = await asyncio.gather(
            *(self._store.eval(_LOOK, book.wait_keys, [*self._head(book), _ms(now, since)]) for book, since in asked)
        )
        loads: dict[str, tuple[int, int]] = {}
        for (book, since), answer in zip(asked, answers, strict=True):
            known, recovering, replicas, back, work, count, waiting = answer
            book.elsewhere = waiting
            if since is not None and since == book.returned_at:
                self._count_returned(book, now - since, back)
            self._heard(book, known=known, recovering=recovering, replicas=replicas)
            counts = dict(_pairs(count))
            seen = {slot: (amount, counts[slot]) for slot, amount in _pairs(work)}
            if known:
                self._rebase(book, seen)
            loads |= seen
        return loads

    async def owners(self, backend: str) -> int:
        """Number of replicas whose beat the store holds; the dead are swept by the beats of the living."""
        count: int = await self._store.call("ZCARD", self._book(backend).keys[3])
        return count

    async def beat_forever(self) -> None:
        """The heartbeat; runs until cancelled."""
        while True:
            self._wake.clear()
            await self.tick()
            await asyncio.sleep(SPACING_SECONDS)
            try:
                async with asyncio.timeout(BEAT_SECONDS - SPACING_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def tick(self, now: float | None = None) -> None:
        """One beat on every backend, as a write-back where one is due. `now` is seconds of `clock`."""
        moment = self._clock() if now is None else now
        await asyncio.gather(*(self._renew(book, moment) for book in list(self._books.values())))

    async def drain(self) -> None:
        """Wait until every release and resize so far has been sent and answered, or has failed."""
        await asyncio.sleep(0)
        await asyncio.gather(*self._telling)

    def _book(self, backend: str) -> Book:
        book = self._books.get(backend)
        if book is None:
            keys = tuple(f"gw:{{{backend}}}:{name}" for name in _KEYS)
            book = self._books[backend] = Book(backend, keys[:_LEASE_KEYS], keys, self._fresh)
            self._wake.set()
        return book

    def _head(self, book: Book) -> list[Value]:
        """The first arguments of every script that looks at beats."""
        return [self.owner, self._store_ms(), int(book.fresh)]

    def _request(self, book: Book, lease_id: str, candidates: Sequence[Candidate], load_weight: float) -> list[Value]:
        args = [*self._head(book), lease_id, len(book.live), load_weight]
        for one in candidates:
            slot, score = slot_name(one.upstream.name, one.life), one.score + one.lift
            args += (slot, score, one.work, one.limit, one.seats, one.outside)
        return args

    async def _renew(self, book: Book, now: float) -> None:
        if book.waits:
            self._say_waits(book)
        try:
            if now < book.write_back_at:
                known, recovering, replicas = await self._store.eval(_BEAT, book.keys, self._head(book))
                if known:
                    self._heard(book, known=1, recovering=recovering, replicas=replicas)
                    return
            await self._write_back(book, now)
        except StoreFault:
            book.write_back_at = AT_ONCE

    async def _write_back(self, book: Book, now: float) -> None:
        # EVAL with the text, not EVALSHA: a second try after NOSCRIPT would carry a list that is no longer true.
        held = [value for lease_id, (slot, work) in book.live.items() for value in (lease_id, slot, work)]
        args = [*self._head(book), self._made + 1, len(book.unsettled), *book.unsettled, *held]
        book.write_back_at = now + WRITE_BACK_SECONDS
        reply = await self._store.call("EVAL", _RECONCILE.text, len(book.keys), *book.keys, *args)
        self._heard(book, known=1, recovering=reply[1], replicas=reply[2])

    def _heard(self, book: Book, *, known: int, recovering: int, replicas: int | None = None) -> None:
        """What every script says about this owner and the backend."""
        book.fresh = False
        book.recovering = bool(recovering)
        if replicas is not None:
            # While the others have yet to come back, their number is what it was.
            book.replicas = max(replicas, book.replicas) if recovering or book.returned_at is not None else replicas
        if not known:
            self._write_back_soon(book)

    def _rebase(self, book: Book, seen: Mapping[str, tuple[int, int]]) -> None:
        """Measure degraded admission from this view on, unless it lacks leases that are yet to be written back."""
        if book.recovering or book.returned_at is not None or book.write_back_at == AT_ONCE:
            book.partial = Sums(seen)
        else:
            book.whole, book.partial = Sums(seen), None

    def _count_returned(self, book: Book, seconds: float, back: int) -> None:
        """Trust the store again once as many replicas as there were have beaten since this one came back to it.

        Its sums lack what the others admitted alone until they are back, and all that they hold where they were swept.
        """
        if back >= book.replicas or seconds >= ABSENCE_SECONDS:
            book.returned_at = None

    def _leave(self, book: Book, lease_id: str) -> None:
        if not book.leaving:
            asyncio.get_running_loop().call_soon(self._send_releases, book)
        book.leaving.append(lease_id)

    def _send_releases(self, book: Book) -> None:
        ids, book.leaving = book.leaving, []
        self._tell(book, _RELEASE, [*self._left_over(book), *ids])

    def _send_resizes(self, book: Book) -> None:
        resized, book.resized = book.resized, {}
        self._tell(book, _RESIZE, [*self._left_over(book), *(value for pair in resized.items() for value in pair)])

    def _left_over(self, book: Book) -> tuple[int, str]:
        """The first arguments of every script that frees places."""
        places, book.left_over = book.left_over, 0
        return places, self.owner

    def _say_waits(self, book: Book) -> None:
        self._post(book, _WAIT, (self.owner, WAIT_MS if book.waits else 0), lambda: None)  # a beat says it again

    def _tell(self, book: Book, script: Script, args: Sequence[Value]) -> None:
        def failed() -> None:
            book.write_back_at = AT_ONCE

        self._post(book, script, args, failed)

    def _post(self, book: Book, script: Script, args: Sequence[Value], failed: Callable[[], None]) -> None:
        told = self._store.post(script, book.wait_keys, args, failed)
        self._telling.add(told)
        told.add_done_callback(self._telling.discard)

    def _write_back_soon(self, book: Book) -> None:
        book.write_back_at = AT_ONCE
        self._wake.set()

    def _store_changed(self, degraded: bool, _reason: str) -> None:
        if not degraded:
            for book in self._books.values():
                book.returned_at = self._clock()
                self._write_back_soon(book)


def _ms(now: float, since: float | None) -> int:
    return 0 if since is None else int((now - since) * 1000)


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[str, int]]:
    """The answer to HGETALL, as (field, number)."""
    for name, number in zip(flat[0::2], flat[1::2], strict=True):
        yield name.decode(), int(number)
