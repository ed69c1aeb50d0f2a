"""Which of several versions of a model a session gets: by hash alone, the same in every process and at every attempt.

Each version draws a time from an exponential distribution whose rate is its weight, from a hash of the session and its
own name; the shortest time wins. The winner is version `i` with probability `weight_i / sum`, and so it is among any
part of them (Efraimidis and Spirakis 2006): a backend that has only some of the versions splits its sessions by their
weights too. Where one weight changes against the others, only the sessions move that must. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log

from gateway.model import GenRequest, Model
from gateway.routing.board import Pool

_BYTES = 8
_STEPS = 1 << 53
"""Values of a hash that a float tells apart."""


def weights_of(model: Model) -> Mapping[str, float]:
    """Version -> weight, over all backends: the policy gives a version one weight wherever it is."""
    return {served.version: served.weight for served in model.served_by if served.version is not None}


def session_of(request: GenRequest) -> bytes:
    """`X-Gateway-Session` within the tenant. A request that names none is a session of its own: the beginning of its
    prompt would not do, for all who share a system prompt would be one session, and no weight would hold."""
    if not request.session:
        return request.id.encode()
    return f"{request.tenant.name}\0{request.session}".encode()


def ranking(session: bytes, weights: Mapping[str, float]) -> tuple[str, ...]:
    """The versions, the session's own first and then those that stand in for it."""
    return tuple(sorted(weights, key=lambda version: -log(_uniform(session, version)) / weights[version]))


def _uniform(session: bytes, version: str) -> float:
    """Above 0, at most 1."""
    digest = blake2b(session, digest_size=_BYTES, key=version.encode()).digest()
    return (int.from_bytes(digest) % _STEPS + 1) / _STEPS


@dataclass(frozen=True, slots=True)
class Choice:
    """`ranked`: the versions in the order in which the session gets them. `mine` is the first of them that its backends
    at home serve, `taken` the first that a worker there can serve now: another one only where nobody can serve `mine`.
    """

    ranked: tuple[str, ...]
    mine: str | None
    taken: str | None

    def at_home(self, pools: Iterable[Pool]) -> list[Pool]:
        """Those of one version, and of backends that have but one."""
        return [pool for pool in pools if pool.version in (None, self.taken)]

    def beyond(self, pools: Iterable[Pool]) -> list[Pool]:
        """One pool of each backend: of the version that is taken at home where it can serve that, else of the next."""
        by_backend: dict[str, dict[str | None, Pool]] = {}
        for pool in pools:
            by_backend.setdefault(pool.backend, {})[pool.version] = pool
        return [self._best(found) for found in by_backend.values()]

    def _best(self, pools: Mapping[str | None, Pool]) -> Pool:
        order = [pools[version] for version in (self.taken, *self.ranked) if version in pools] or list(pools.values())
        return next((pool for pool in order if pool.states), order[0])


def choose(request: GenRequest, weights: Mapping[str, float], home: Sequence[Pool]) -> Choice:
    """`home`: what is left of the pools at home for this very request, of every version."""
    ranked = ranking(session_of(request), weights)
    served, able = {pool.version for pool in home}, {pool.version for pool in home if pool.states}
    mine = next((version for version in ranked if version in served), None)
    return Choice(ranked, mine, next((version for version in ranked if version in able), mine))
