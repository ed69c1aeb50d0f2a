"""The keys that were made at run time, as every replica holds them in memory: a look-up asks nobody.

The store is where replicas tell each other. Of each key the highest `serial` that was seen holds, here and there, and
that it was revoked holds against any: what the store has lost, or has an older state of, is put back, so neither a
flushed store nor one that was rolled back closes a key that is good, or opens one that was revoked. A revoked key stays
as a row that says so, for as long as an older row of it would open anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice

from gateway.errors import InvalidKey, KeyConflict, StoreFault
from gateway.model import IssuedKey, Policy, Tenant
from gateway.money.key_shelf import MOST_KEYS, MOST_ROWS, KeyShelf
from gateway.store.sealing import BadSeal

INTERVAL_SECONDS = 0.5
"""Between looks where nothing was heard: what was revoked elsewhere is so here after one of them at the latest."""
WHOLE_SECONDS = 60.0
"""Between looks at all keys, whatever the store says of changes."""
FORGET_SECONDS = 90 * 86_400.0
"""After a key expired, its row goes too: what is played back of it opens nothing."""
_OWN = ('"limits"', '"budgets"')
MOST_FAULTS = 100
"""That operators are shown."""
PUT_BACK = 100
"""Keys that one look puts back at most."""
SLICE = 100
"""Keys that are worked out at once: 3 ms."""
Grant = Callable[[Policy, IssuedKey], Tenant]
"""What a key opens under a policy. Raises InvalidKey where that is nothing."""
_log = logging.getLogger("gateway")


class Keyring:
    """One per process. Without a `shelf` (no pepper) there are no such keys. `on_change` is called whenever a key is
    another than before."""

    def __init__(self, shelf: KeyShelf | None, grant: Grant, now: Callable[[], float] = time.time) -> None:
        self._shelf, self._grant, self._now = shelf, grant, now
        self.keys: Mapping[str, IssuedKey] = {}
        self.on_change: list[Callable[[], None]] = []
        self._by_hash: Mapping[str, IssuedKey] = {}
        self._stored: dict[str, bytes] = {}
        """What the store has, as of the last look. What is there unchanged is not read again."""
        self._behind: set[str] = set()
        """Keys of which the store has an older state."""
        self._bad: dict[str, str] = {}
        self._made_of: Mapping[str, Tenant] | None = None
        self._made_for: Mapping[str, IssuedKey] | None = None
        self._made: dict[IssuedKey, Tenant | None] = {}
        self._opens: tuple[Tenant, ...] = ()
        self._epoch = b""
        self._since = 0
        self._whole_at = float("-inf")
        self._heard, self._turn = asyncio.Event(), asyncio.Lock()

    @property
    def faults(self) -> dict[str, str]:
        """Id of what lies in the store and is none of ours -> what is wrong with it; the first MOST_FAULTS.

        It is left there: under another pepper, which a replica may have by mistake, it would be all keys."""
        return dict(islice(self._bad.items(), MOST_FAULTS))

    def tenant(self, policy: Policy, hash: str) -> Tenant | None:
        """Whose key this keyed hash is, as its holder is under `policy`; None for one that was not made here.

        Raises InvalidKey for one that opens nothing: revoked, or of a tenant or a zone that the policy does not have.
        Expiry is in the tenant's `expires`."""
        key = self._by_hash.get(hash)
        if key is None:
            return None
        if key.revoked is not None:
            raise InvalidKey("this key was revoked")
        made = self._grant(policy, key)
        if hash == key.hash or key.old_until is None:
            return made
        return replace(made, expires=min(key.old_until, made.expires or key.old_until))

    async def tenants(self, policy: Policy) -> tuple[Tenant, ...]:
        """What those keys open that have limits or budgets of their own. Worked out anew for a key that changed, and
        for all where the policy's tenants did; others have their turn in between."""
        keys, under = self.keys, policy.tenants
        if keys is not self._made_for or under is not self._made_of:
            before = self._made if under is self._made_of else {}
            made: dict[IssuedKey, Tenant | None] = {}
            for number, key in enumerate(keys.values(), 1):
                if key.revoked is None and any(word in key.terms for word in _OWN):
                    made[key] = before.get(key) or self._opened(policy, key)
                if number % SLICE == 0:
                    await asyncio.sleep(0)
            self._made, self._made_for, self._made_of = made, keys, under
            self._opens = tuple(one for one in made.values() if one is not None)
        return self._opens

    def _opened(self, policy: Policy, key: IssuedKey) -> Tenant | None:
        try:
            return self._grant(policy, key)
        except InvalidKey:
            return None

    def woken(self, _: object = None) -> None:
        """Something changed, or may have: look now."""
        self._heard.set()

    async def run(self) -> None:
        """Looks until cancelled; while the store is away what is known stays."""
        while True:
            try:
                await self.look()
            except StoreFault:
                _log.debug("the keys in the store cannot be looked at")
            try:
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await self._heard.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Takes up what changed, and puts back what the store lost. Raises StoreFault."""
        if self._shelf is None:
            self._heard.clear()  # else `run` would never wait again
            return
        async with self._turn:
            await self._look(self._shelf)

    async def _look(self, shelf: KeyShelf) -> None:
        self._heard.clear()
        page = await shelf.look(self._since)
        whole = page.epoch != self._epoch or page.number < self._since or self._due()
        rows, all_read = await shelf.everything() if whole else (page.rows, True)
        if rows or whole:
            self._take(shelf, rows, whole=whole)
        self._epoch, self._since = page.epoch, page.number if whole else page.last
        if whole:
            done = await self._put_back(shelf)
            self._whole_at = time.monotonic() if done or not all_read else float("-inf")
        if self._since < page.number:
            self.woken()

    async def put(self, key: IssuedKey, was: IssuedKey | None = None) -> None:
        """Tells everybody of a key that was made here, or changed: `was` is what it was made of.

        Raises KeyConflict, where it is not that any more too, or StoreFault: nothing changed."""
        shelf = self._shared()
        async with self._turn:
            if self.keys.get(key.id) != was:
                raise _met(key.id)
            if was is None:
                self._room()
            done, sealed = await shelf.put(key, self._stored.get(key.id, b""))
            if done:
                return self._take(shelf, {key.id: sealed}, whole=False)
        self.woken()
        raise _met(key.id)

    async def revoke(self, id: str) -> IssuedKey:
        """Closes a key: here at once, whatever the store does; then everywhere.

        Raises StoreFault or KeyConflict where nobody else could be told; a look does, as soon as it can."""
        shelf, key = self._shared(), self.keys[id]
        if key.revoked is None:
            self._behind.add(id)
            self._hold({**self.keys, id: replace(key, revoked=self._now(), serial=key.serial + 1)})
        async with self._turn:
            whole_at, self._whole_at = self._whole_at, float("-inf")
            if id not in self._behind or await self._write(shelf, self.keys[id]):
                self._whole_at = whole_at
            else:
                await self._look(shelf)  # somebody else wrote: what is there now has an older state
            if id in self._behind:
                raise _met(id)
        return self.keys[id]

    def _shared(self) -> KeyShelf:
        if self._shelf is None:
            raise KeyConflict(
                "keys are kept as hashes under a pepper: set GATEWAY_KEY_PEPPER, the same for all replicas"
            )
        return self._shelf

    def _room(self) -> None:
        """For one more. Raises KeyConflict. What lies in the store and is none of ours does not count."""
        now = self._now()
        if sum(key.over is None or key.over > now for key in self.keys.values()) >= MOST_KEYS:
            raise KeyConflict(f"there are {MOST_KEYS} keys already: revoke some")
        if len(self.keys) >= MOST_ROWS:
            raise KeyConflict(f"there were {MOST_ROWS} keys already: only those with `expires` are ever forgotten")

    def _due(self) -> bool:
        return time.monotonic() - self._whole_at >= WHOLE_SECONDS

    def _take(self, shelf: KeyShelf, rows: Mapping[str, bytes], *, whole: bool) -> None:
        news = {id: sealed for id, sealed in rows.items() if self._stored.get(id) != sealed}
        keys = {id: key for id, key in self.keys.items() if not self._forgotten(key)} if whole else dict(self.keys)
        self._stored = dict(rows) if whole else self._stored | news
        self._bad = {id: fault for id, fault in self._bad.items() if id in self._stored}
        bad = [id for id, sealed in news.items() if not self._judge(shelf, id, sealed, keys)]
        if bad:
            told = {"entries": len(bad), "fault": self._bad[bad[0]]}
            _log.error("entries among the keys in the store are none of ours, and ignored", extra={"fields": told})
        if keys != self.keys:
            self._hold(keys)

    def _hold(self, keys: Mapping[str, IssuedKey]) -> None:
        self.keys, self._by_hash = keys, by_hash(keys)
        for listener in self.on_change:
            listener()

    def _judge(self, shelf: KeyShelf, id: str, sealed: bytes, keys: dict[str, IssuedKey]) -> bool:
        """One entry of the store: news for `keys`, older than they are, or none of ours (False)."""
        self._behind.discard(id)
        self._bad.pop(id, None)
        try:
            key = shelf.read(id, sealed)
        except BadSeal as bad:
            self._bad[id] = str(bad)
            return False
        known = keys.get(id)
        if known is not None and (self._forgotten(key) or _rank(known) > _rank(key)):
            self._behind.add(id)
        elif not self._forgotten(key):
            keys[id] = key
        return True

    def _forgotten(self, key: IssuedKey) -> bool:
        return key.expires is not None and key.expires + FORGET_SECONDS < self._now()

    async def _put_back(self, shelf: KeyShelf) -> bool:
        """What the store lacks of what is known here, after a look at all of it; and takes out what is long over.
        Whether that was all of it."""
        spoiled = self._behind | self._bad.keys()
        behind = [key for id, key in self.keys.items() if id not in self._stored or id in spoiled]
        behind.sort(key=lambda key: key.revoked is None)  # what closes something comes first
        for key in behind[:PUT_BACK]:
            await self._write(shelf, key)
        gone = [id for id in self._stored if id not in self.keys and id not in self._bad]
        for id in gone[:PUT_BACK]:
            if await shelf.take_out(id, self._stored[id]):
                del self._stored[id]
        return max(len(behind), len(gone)) <= PUT_BACK

    async def _write(self, shelf: KeyShelf, key: IssuedKey) -> bool:
        """Over what the store has of it; False where that is not what it was at the last look."""
        done, sealed = await shelf.put(key, self._stored.get(key.id, b""))
        if done:
            self._stored[key.id] = sealed
            self._bad.pop(key.id, None)
            if self.keys.get(key.id) is key:  # and was not revoked meanwhile
                self._behind.discard(key.id)
        return bool(done)


def by_hash(keys: Mapping[str, IssuedKey]) -> dict[str, IssuedKey]:
    """Under their present hash and the one before."""
    old = {key.old_hash: key for key in keys.values() if key.old_hash is not None}
    return old | {key.hash: key for key in keys.values()}


def _met(id: str) -> KeyConflict:
    return KeyConflict(f"`{id}` was changed by somebody else at the same time; look, and try again")


def _rank(key: IssuedKey) -> tuple[bool, int, str]:
    """The higher one holds. Revoked is for good, also where changes met after the store was split."""
    return key.revoked is not None, key.serial, key.hash
