"""What the store keeps of policies: the order that holds, the files of versions, and how each replica is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import PolicyConflict
from gateway.policy.folder import Folder
from gateway.store.connection import Store
from gateway.store.scripts import load
from gateway.store.sealing import BadSeal
from gateway.store.target import Value
from gateway.versions.orders import Order, Seal

REPLICA_MS = 2_500
"""A replica that has not told anything for so long is not listed any more."""
KEEP = 20
"""Versions in the store; older content would count as new again."""
ORDER_KEY, VERSIONS_KEY, AGES_KEY, REPLICAS_KEY = (
    f"gw:{{policy}}:{name}" for name in ("order", "versions", "ages", "replicas")
)
ANNOUNCE, TELL = load("gateway.versions", "announce"), load("gateway.versions", "tell")

Contents = Mapping[str, Mapping[str, bytes]]
"""Version -> its files by name."""


class Shelf:
    """As one replica sees it; without a `seal` it tells of itself and trusts nothing. All that asks the store raises
    StoreFault."""

    def __init__(self, store: Store, owner: str, seal: Seal | None) -> None:
        self._store, self._owner, self.seal = store, owner, seal
        self._stored = b""
        """The order, sealed, as it was there at the last look."""

    async def tell(self, state: Mapping[str, Any]) -> None:
        """How this replica is; and looks at the order that holds."""
        told: list[Value] = [self._owner, msgspec.json.encode(state), REPLICA_MS]
        self._stored = await self._store.eval(TELL, [REPLICAS_KEY, ORDER_KEY], told) or b""

    def order(self) -> Order | None:
        """What was there at the last look. Raises BadSeal."""
        return self.seal.read_order(self._stored) if self.seal is not None and self._stored else None

    async def knows(self, version: str) -> bool:
        return bool(await self._store.call("HEXISTS", VERSIONS_KEY, version))

    async def versions(self) -> list[str]:
        """The one announced last first."""
        names: list[bytes] = await self._store.call("ZREVRANGE", AGES_KEY, 0, -1)
        return [name.decode() for name in names]

    async def files(self, version: str) -> dict[str, bytes]:
        """Raises BadSeal for what is not there, not sealed by us, or another content than its name says."""
        sealed: bytes | None = await self._store.call("HGET", VERSIONS_KEY, version)
        if sealed is None:
            raise BadSeal("its files are not in the store")
        files = self.need_seal().read_content(sealed)
        if Folder(Path(), files).version != version:
            raise BadSeal("its files are those of another version")
        return files

    async def put(self, order: Order, contents: Contents) -> bool:
        """Whether `order` holds now; it does not where somebody changed it since the last look. Raises TooLarge."""
        seal = self.need_seal()
        sealed, files = seal.order(order), {name: seal.content(held) for name, held in contents.items()}
        args: list[Value] = [self._stored, sealed, order.number, KEEP]
        for name in dict.fromkeys((order.version, *([order.trial.version] if order.trial else []))):
            args += (name, files.get(name, b""))
        if not await self._store.eval(ANNOUNCE, [ORDER_KEY, VERSIONS_KEY, AGES_KEY], args):
            return False
        self._stored = sealed
        return True

    async def replicas(self) -> dict[str, dict[str, Any]]:
        """Owner -> state, of all that told within REPLICA_MS."""
        rows: list[bytes] = await self._store.call("HGETALL", REPLICAS_KEY)
        found = zip(rows[0::2], rows[1::2], strict=True)
        return {owner.decode(): msgspec.json.decode(row.partition(b"|")[2]) for owner, row in found}

    def need_seal(self) -> Seal:
        """Raises PolicyConflict."""
        if self.seal is None:
            raise PolicyConflict("replicas share policies only under a key: set GATEWAY_POLICY_KEY, the same for all")
        return self.seal
