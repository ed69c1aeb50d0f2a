"""What replicas tell each other about policies, and how they know that it comes from one of them.

An *order* says which version is in force and which one is on trial. Orders are numbered; the highest one holds. Whoever
may write to the store could otherwise move zones and networks, so orders and contents are sealed: HMAC-SHA-256 under a
key that is not in the store. What carries no good seal is not read any further.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gateway.policy.candidate import Trial
from gateway.store.sealing import BadSeal, Sealing

MAX_CONTENT_BYTES = 1 << 20
"""Of a folder's files, packed: such a call still fits into the 50 ms of the store on a local network."""
_ORDER, _CONTENT = b"order", b"content"
"""What a seal is for, so that none can be used for the other."""


class TooLarge(Exception):
    """The files are more than can be shared."""


@dataclass(frozen=True, slots=True)
class Order:
    """`at` is the epoch second by the clock of the replica `by` that gave it."""

    number: int
    version: str
    trial: Trial | None = None
    at: float = 0.0
    by: str = ""


class Seal:
    """Seals and opens orders and contents under one key."""

    def __init__(self, key: bytes) -> None:
        self._sealing = Sealing(key, "GATEWAY_POLICY_KEY")

    def order(self, order: Order) -> bytes:
        return self._sealing.close(_ORDER, msgspec.json.encode(order))

    def read_order(self, sealed: bytes) -> Order:
        """Raises BadSeal."""
        try:
            return msgspec.json.decode(self._sealing.open(_ORDER, sealed), type=Order)
        except msgspec.MsgspecError:
            raise BadSeal("an order of another release of the gateway") from None

    def content(self, files: Mapping[str, bytes]) -> bytes:
        """Raises TooLarge."""
        packed = zlib.compress(msgspec.json.encode(dict(files)))
        if len(packed) > MAX_CONTENT_BYTES:
            raise TooLarge(f"the folder packs to more than {MAX_CONTENT_BYTES >> 10} KiB, too much to be shared")
        return self._sealing.close(_CONTENT, packed)

    def read_content(self, sealed: bytes) -> dict[str, bytes]:
        """Raises BadSeal. It is unpacked only after its seal was found good."""
        packed = self._sealing.open(_CONTENT, sealed)
        try:
            return msgspec.json.decode(zlib.decompress(packed), type=dict[str, bytes])
        except (zlib.error, msgspec.MsgspecError):
            raise BadSeal("content of another release of the gateway") from None
