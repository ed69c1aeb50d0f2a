"""Where the files that jobs made are kept: one small interface, a folder of ours or a bucket behind it.

A name is made here, of when the file goes and of whose it is, as a digest; nothing that a caller or a provider wrote is
ever part of it. So whoever looks after the store knows what to delete without asking anybody, and who does once more
what a dead process had done leaves no second file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import ArtefactFault
from gateway.model import Demand, Policy

CHUNK = 64 << 10
"""Bytes that are read, or written, in one go: a download holds one such piece and no more."""
EXPIRY_DIGITS, DIGEST_DIGITS = 10, 32
SHARD_DIGITS = 7
"""Hex digits, of the second at which an artefact goes, that its shard is called by: 4096 s share one."""
SHARD_SECONDS = 16 ** (EXPIRY_DIGITS - SHARD_DIGITS)
_ID = re.compile(f"[0-9a-f]{{{EXPIRY_DIGITS + DIGEST_DIGITS}}}")
_SHARD = re.compile(f"[0-9a-f]{{{SHARD_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class Stored:
    id: str
    size: int
    """Bytes."""
    digest: str
    """SHA-256 in hex."""


class Reading(Protocol):
    """An artefact that is open. `size` is that of the whole, wherever reading began."""

    @property
    def size(self) -> int: ...
    async def read(self) -> bytes | memoryview:
        """The next piece, empty at the end; good until the next call. Raises ArtefactFault."""
        ...

    async def aclose(self) -> None: ...


class Artefacts(Protocol):
    """All methods raise ArtefactFault where the store does not do what it should."""

    async def put(self, chunks: AsyncIterable[bytes], expires: float, of: str) -> Stored:
        """Whole and durable when it returns, else nothing is left of it. `expires` (seconds since the epoch) and `of`
        are as for `new_id`; what has that name already is replaced."""
        ...

    async def open(self, id: str, offset: int = 0) -> Reading | None:
        """None: it is not here."""
        ...

    async def exists(self, id: str) -> bool: ...
    async def delete(self, id: str) -> None:
        """Also where it is not there."""
        ...

    async def sweep(self, now: float) -> int:
        """Deletes what has expired, whoever put it; how many that were."""
        ...

    async def room(self) -> None:
        """Raises ArtefactFault where nothing more fits."""
        ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Lies:
    """Where the store is. `own`: on our own machines."""

    own: bool
    zone: str | None

    def admits(self, demand: Demand, policy: Policy) -> bool:
        """Whether data under `demand` may be kept there."""
        if demand.local and not self.own:
            return False
        return not demand.zones or (self.zone is not None and demand.zones <= policy.zones.get(self.zone, frozenset()))


def new_id(expires: float, of: str) -> str:
    """`expires`: seconds since the epoch. `of`: what it is, with something in it that nobody can guess, such as the id
    of its job: the same name for the same thing, from whichever process."""
    return f"{int(expires):0{EXPIRY_DIGITS}x}{hashlib.sha256(of.encode()).hexdigest()[:DIGEST_DIGITS]}"


def checked(id: str) -> str:
    """Raises ArtefactFault for what is no name of ours: it never becomes part of a path."""
    if _ID.fullmatch(id) is None:
        raise ArtefactFault(ArtefactFault.UNAVAILABLE, "that is no artefact's name")
    return id


def shard(id: str) -> str:
    return checked(id)[:SHARD_DIGITS]


def over(name: str, now: float) -> bool:
    """Whether all that lies in the shard of this name has expired; False for what is no shard of ours."""
    return _SHARD.fullmatch(name) is not None and (int(name, 16) + 1) * SHARD_SECONDS <= now
