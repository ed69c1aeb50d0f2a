"""The full account of each decision: made when the request is over, filed in batches off the client's path."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from gateway.errors import StoreFault
from gateway.store.connection import Store
from gateway.store.scripts import load

MAX_BYTES = 2048
LAST_TO_GO = ("forecast", "drops", "residency", "client_id", "removed", "version_wanted", "version", "model")
"""What a receipt can be without, first to last. Of a policy's names it keeps four of at most 64 characters, and the
rest are numbers and words of ours: without these it fits."""
BATCH = 64
LINGER_SECONDS = 0.1
ELSEWHERE_SECONDS = LINGER_SECONDS + 0.05
"""How long a receipt may still be with the replica that made it: what is not in the store is looked for once more."""
MAX_QUEUED = 10_000
"""About 20 MB of receipts while the store is away; past it the oldest plain ones are dropped, then the oldest."""
_KEYS = ["gw:{receipts}:data", "gw:{receipts}:plain", "gw:{receipts}:kept", "gw:{receipts}:bytes"]
_FILE, _PAGE = load("gateway", "receipts"), load("gateway", "receipts_page")

Receipt = dict[str, Any]


class Place(NamedTuple):
    """Between two receipts as they were filed: newer ones come after it for ever. `second` is of the epoch; of that
    second so many are older, in either list."""

    second: int
    plain: int = 0
    kept: int = 0


class Filed(NamedTuple):
    """A receipt's JSON (empty: it is gone), its tenant, and the second in which it was filed: about when its request
    was over."""

    second: int
    tenant: str
    json: bytes


class Page(NamedTuple):
    """Newest first, between two places; without an end it is the last one."""

    filed: list[Filed]
    begins: Place | None
    ends: Place | None


def encode(receipt: Receipt) -> bytes:
    """JSON of at most MAX_BYTES. Past that there go, each only as far as it must, and `cut` says so: the candidates
    (the chosen one last), the attempts but the last, then the fields of LAST_TO_GO, which are left out whole.
    """
    value = msgspec.json.encode(receipt)
    if len(value) <= MAX_BYTES:
        return value
    shown = {**receipt, "cut": True}
    for _ in _cuts(shown):
        value = msgspec.json.encode(shown)
        if len(value) <= MAX_BYTES:
            break
    return value


def _cuts(shown: Receipt) -> Iterator[None]:
    """Takes one thing more out of `shown` at each step, the least missed first."""
    while shown.get("candidates"):
        shown["candidates"] = _without_one(shown["candidates"], shown.get("chosen"))
        yield
    while len(shown.get("attempts", ())) > 1:
        shown["attempts"] = shown["attempts"][1:]
        yield
    for name in LAST_TO_GO:
        if shown.pop(name, None):
            yield


def _without_one(candidates: list[dict[str, Any]], chosen: str | None) -> list[dict[str, Any]]:
    """Without the last candidate that was not chosen; the chosen one goes last."""
    spare = [index for index, candidate in enumerate(candidates) if candidate["upstream"] != chosen]
    cut = spare[-1] if spare else -1
    return [*candidates[:cut], *candidates[cut:][1:]]


def is_plain(receipt: Receipt) -> bool:
    """Served by our own fleet, first try, no demand on residency: the kind that is thinned first."""
    return (
        receipt["outcome"] == "local"
        and not receipt["residency"]
        and len(receipt["attempts"]) == 1
        and not receipt.get("error")
    )


class Receipts:
    """Queues receipts and files them; `dropped` counts those that found no room while the store was away."""

    def __init__(
        self,
        store: Store,
        cap_bytes: int,
        hours: float,
        on_drop: Callable[[], None] = lambda: None,
        heard: Callable[[Receipt], None] = lambda _: None,
    ) -> None:
        """`heard` hears of each receipt, once; it does not raise."""
        self._store, self._cap, self._life, self._on_drop = store, cap_bytes, int(hours * 3600), on_drop
        self._heard = heard
        self._queues: dict[str, deque[tuple[str, bytes]]] = {"plain": deque(), "kept": deque()}
        self._filing: list[tuple[str, str, bytes]] = []
        self._more = asyncio.Event()
        self.dropped = 0

    def add(self, receipt: Receipt) -> None:
        self._heard(receipt)
        kind = "plain" if is_plain(receipt) else "kept"
        value = receipt["tenant"].encode() + b"\n" + encode(receipt)
        self._queues[kind].append((receipt["id"], value))
        if len(self._queues["plain"]) + len(self._queues["kept"]) > MAX_QUEUED:
            (self._queues["plain"] or self._queues["kept"]).popleft()
            self.dropped += 1
            self._on_drop()
        self._more.set()

    async def find(self, tenant: str, receipt_id: str) -> bytes | None:
        """The receipt's JSON for the tenant that made the request; None for anybody else, who waits as long as for one
        that is not there: an id that was guessed right tells nothing."""
        found = await self._look(tenant, receipt_id)
        if found is None:
            await asyncio.sleep(ELSEWHERE_SECONDS)
            found = await self._look(tenant, receipt_id)
        return found

    async def _look(self, tenant: str, receipt_id: str) -> bytes | None:
        for queued_id, value in chain(((i, v) for i, _, v in self._filing), *self._queues.values()):
            if queued_id == receipt_id:
                return _for(tenant, value)
        value = await self._store.call("HGET", _KEYS[0], receipt_id)
        return None if value is None else _for(tenant, value)

    async def look(self, receipt_id: str) -> bytes | None:
        """The receipt's JSON, whoever made the request. Raises StoreFault."""
        value: bytes | None = await self._store.call("HGET", _KEYS[0], receipt_id)
        return None if value is None else value.partition(b"\n")[2]

    async def page(self, most: int, older: Place | None = None) -> Page:
        """The newest receipts, or those that were filed before a place. Raises StoreFault."""
        where = ("", 0, 0) if older is None else older
        begins, ends, *rows = await self._store.eval(_PAGE, _KEYS[:3], [most, *where])
        filed = [_filed(second, value) for second, value in zip(rows[::2], rows[1::2], strict=True)]
        return Page(filed, Place(*begins) if begins else older, Place(*ends) if ends else None)

    async def run(self) -> None:
        """Files what is queued, a batch at a time, until cancelled; then once more."""
        try:
            while True:
                await self._more.wait()
                await asyncio.sleep(LINGER_SECONDS)
                await self.flush()
        finally:
            await asyncio.shield(self.flush())

    async def flush(self) -> None:
        self._more.clear()
        while batch := self._take():
            self._filing = batch
            args = [part for row in batch for part in row]
            try:
                await self._store.eval(_FILE, _KEYS, [self._cap, self._life, *args])
            except StoreFault:
                for receipt_id, kind, value in reversed(batch):
                    self._queues[kind].appendleft((receipt_id, value))
                self._more.set()
                return
            finally:
                self._filing = []

    def _take(self) -> list[tuple[str, str, bytes]]:
        taken: list[tuple[str, str, bytes]] = []
        for kind, queue in self._queues.items():
            while queue and len(taken) < BATCH:
                receipt_id, value = queue.popleft()
                taken.append((receipt_id, kind, value))
        return taken


def _filed(second: int, value: bytes) -> Filed:
    tenant, _, receipt = value.partition(b"\n")
    return Filed(second, tenant.decode(), receipt)


def _for(tenant: str, value: bytes) -> bytes | None:
    owner, _, receipt = value.partition(b"\n")
    return receipt if owner == tenant.encode() else None
