"""Which of several versions of a model a session gets: by hash alone, the same in every process and at every attempt.

Each version draws a time from an exponential distribution whose rate is its weight, from a hash of the session and its
own name; the shortest time wins. The winner is version `i` with probability `weight_i / sum`, and so it is among any
part of them (Efraimidis and Spirakis 2006): a backend that has only some of the versions splits its sessions by their
weights too. Where one weight changes against the others, only the sessions move that must. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def of_one_version(pools: list[Pool], ranked: Sequence[str]) -> tuple[list[Pool], str | None, str | None]:
    """Of the pools at home those of one version, and of backends that have but one; that version, and the one that the
    session belongs to. They differ only where no worker can serve that. `ranked` is empty where there are none."""
    if not ranked:
        return pools, None, None
    served = {pool.version for pool in pools}
    mine = next((version for version in ranked if version in served), None)
    able = {pool.version for pool in pools if pool.states}
    taken = next((version for version in ranked if version in able), mine)
    return [pool for pool in pools if pool.version in (None, taken)], taken, mine


def one_of_each(pools: list[Pool], ranked: Sequence[str], taken: str | None) -> list[Pool]:
    """One pool of each backend: of the version that is `taken` at home where it can serve that, else of the next."""
    if not ranked:
        return pools
    order = [version for version in (taken, *ranked) if version is not None]
    by_backend: dict[str, dict[str | None, Pool]] = {}
    for pool in pools:
        by_backend.setdefault(pool.backend, {})[pool.version] = pool
    return [_best(found, order) for found in by_backend.values()]


def _best(pools: Mapping[str | None, Pool], order: Sequence[str]) -> Pool:
    ranked = [pools[version] for version in order if version in pools] or list(pools.values())
    return next((pool for pool in ranked if pool.states), ranked[0])
