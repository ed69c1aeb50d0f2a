"""Affinity: the upstream that has served prompts beginning alike, or the same session, found by hashing alone.

Consistent hashing with bounded load (Mirrokni, Thorup, Zadimoghaddam 2018): a key belongs to the first upstream after
it on a ring of hashed names, unless that one carries more than BOUND times the mean load; then to the next. Names and
keys hash alike in every process, so replicas agree without talking, as far as their snapshots do. Pure.
"""

from __future__ import annotations

from array import array
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import log
from struct import Struct
from typing import NamedTuple

from gateway.model import UpstreamState
from gateway.routing.robust import fair_mean

PREFIX_BYTES = 1024
"""How much of a prompt's beginning is hashed: about 256 tokens, 16 blocks of vLLM's prefix cache. A cache that holds
less of a prompt than that saves some 10 ms."""
BLOCK_BYTES = 64
"""A shorter prompt is cut to whole blocks of this size, about 16 tokens: caches hold no parts of them."""
GROWTH = 1.2
LONGEST_BYTES = 256 * 1024
DEPTHS = tuple(
    int(PREFIX_BYTES * GROWTH**step) // BLOCK_BYTES * BLOCK_BYTES
    for step in range(int(log(LONGEST_BYTES / PREFIX_BYTES, GROWTH)) + 1)
)
"""Bytes of a prompt's beginning of which hashes are kept: each a fifth longer than the one before, up to 60,000 tokens.
So much of a turn is at most unknown to the next."""
POINTS = 32
"""Places of each upstream on the ring: shares then differ by about a sixth (1 / sqrt(32))."""
PLACES = 2
"""Of a key: its owner, and the next on the ring, which all replicas agree on for when the owner has no room."""
BOUND = 1.25
"""Times the mean load of the pool that an owner may carry."""
QUIET = 0.25
"""Below this share of its limit an upstream is never passed over: what differs is noise."""
FRESH, KEPT = 0.05, 0.75
"""The same for a prompt whose beginning nobody has read, which loses nothing elsewhere, and for one whose beginning it
has read: to read that again is work too. Found by `make affinity` (docs/affinity.md)."""
_KEY_BYTES, _SCOPE_BYTES = 8, 32
_DIGEST = Struct(">8Q")
"""One digest of blake2b is eight points."""


def key_of(data: bytes, key: bytes = b"") -> int:
    """64 bits, the same in every process and on every machine that has the same `key`."""
    return int.from_bytes(blake2b(data, digest_size=_KEY_BYTES, key=key).digest())


def session_key(tenant: str, session: str) -> int:
    """Sessions of two tenants that are called alike are two sessions."""
    return key_of(f"{tenant}\0{session}".encode())


def scope_of(secret: bytes, tenant: str) -> bytes:
    """The key under which a tenant's prompts are hashed: prompts of two tenants that are alike have nothing in common,
    and who does not have `secret` (at most 64 bytes) cannot tell from a hash which prompt it is of."""
    return blake2b(tenant.encode(), digest_size=_SCOPE_BYTES, key=secret).digest()


def beginnings(pieces: Iterable[bytes | memoryview], scope: bytes = b"") -> tuple[int, ...]:
    """Hashes of the prompt's growing beginnings, as many of DEPTHS as it has bytes for, shortest first; of one that is
    shorter than the first of them the hash of its whole blocks, if it has any. A turn of a conversation has those of
    the turns before it, under the same `scope`."""
    made: list[int] = []
    state, size, head = blake2b(digest_size=_KEY_BYTES, key=scope), 0, bytearray()
    for piece in pieces:
        view = memoryview(piece)
        if not made:
            head += view[: PREFIX_BYTES - len(head)]
        while len(made) < len(DEPTHS) and size + len(view) >= DEPTHS[len(made)]:
            cut = DEPTHS[len(made)] - size
            state.update(view[:cut])
            made.append(int.from_bytes(state.copy().digest()))
            view, size = view[cut:], size + cut
        if len(made) == len(DEPTHS):
            break
        state.update(view)
        size += len(view)
    if made:
        return tuple(made)
    key = prefix_key([bytes(head)], scope)
    return () if key is None else (key,)


def prefix_key(pieces: Iterable[bytes | memoryview], scope: bytes = b"") -> int | None:
    """Of the prompt whose text these pieces are, in order; None where it has not one whole block."""
    begin = bytearray()
    for piece in pieces:
        begin += piece[: PREFIX_BYTES - len(begin)]
    whole = len(begin) - len(begin) % BLOCK_BYTES
    return key_of(bytes(begin[:whole]), scope) if whole else None


class Ring(NamedTuple):
    """`points` in ascending order; `names[owners[i]]` holds `points[i]`."""

    points: array[int]
    owners: array[int]
    names: tuple[str, ...]


@lru_cache(maxsize=64)
def ring_of(names: tuple[str, ...]) -> Ring:
    """Remembered, because it depends on the policy alone and a thousand names take some 20 ms."""
    placed = {point: owner for owner, name in enumerate(names) for point in _points(name)}
    points = sorted(placed)
    return Ring(array("Q", points), array("L", [placed[point] for point in points]), names)


def _points(name: str) -> tuple[int, ...]:
    digests = (
        blake2b(name.encode(), salt=part.to_bytes(2)).digest() for part in range(POINTS * _KEY_BYTES // _DIGEST.size)
    )
    return tuple(point for digest in digests for point in _DIGEST.unpack(digest))


@dataclass(frozen=True, slots=True)
class Circle:
    """One pool on the ring of its backend. `most` is the load above which a member is passed over by a session; `fresh`
    by a prompt that nobody has read, and `kept` by one that it has."""

    ring: Ring
    members: Mapping[str, UpstreamState]
    most: float
    fresh: float
    kept: float


def circle_of(names: tuple[str, ...], states: Sequence[UpstreamState]) -> Circle:
    """`names` are all of the backend, `states` those of them that may take part now."""
    mean = fair_mean([share(state) for state in states]) if states else 0.0
    return Circle(
        ring_of(names),
        {state.upstream.name: state for state in states},
        *(max(quiet, BOUND * mean) for quiet in (QUIET, FRESH, KEPT)),
    )


def share(state: UpstreamState) -> float:
    """Load as the snapshot has it, as a share of the limit; above 1 where there is more than fits."""
    return (state.leased + state.outside) / limit_of(state)


def limit_of(state: UpstreamState) -> int:
    """The whole of it, whatever part a class may fill; at least 1."""
    return max(1, state.upstream.limit if state.limit is None else state.limit)


def carries(circle: Circle, name: str, most: float) -> UpstreamState | None:
    """The member of that name, unless it is passed over for its load."""
    state = circle.members.get(name)
    return state if state is not None and share(state) <= most else None


def owners(
    circle: Circle, key: int, passes: Callable[[UpstreamState], bool], most: float | None = None
) -> list[UpstreamState]:
    """At most PLACES members for `key`, its owner first; of those for which `passes` holds, and of a load up to `most`
    (None: that of a session)."""
    bound = circle.most if most is None else most
    ring = circle.ring
    begin, size = bisect(ring.points, key), len(ring.points)
    found: list[UpstreamState] = []
    seen: set[int] = set()
    for step in range(size):
        owner = ring.owners[(begin + step) % size]
        if owner in seen:
            continue
        seen.add(owner)
        state = carries(circle, ring.names[owner], bound)
        if state is not None and passes(state):
            found.append(state)
            if len(found) == PLACES:
                break
        if len(seen) == len(ring.names):
            break
    return found
