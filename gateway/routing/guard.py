"""Which SLO guards the workers of a pool, and so how much leased work each of them may hold. Pure.

A pool is one backend for one model. `limit.py` has the rule itself; this is where policy and snapshot meet it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gateway.model import Learned, Policy, Rule, Slo, Upstream
from gateway.routing.globs import fits
from gateway.routing.limit import bounds, clamp, expected_limit_us, guarding


@dataclass(frozen=True, slots=True)
class Guard:
    """What the limits of a pool's workers keep, and within what their shared scale moves: lowest and highest."""

    slo: Slo
    within: tuple[float, float]


def guard(
    policy: Policy, backend: str, model: str, lately: Collection[str], learned: Learned, kv_tokens: int | None = None
) -> Guard | None:
    """The strictest SLO among the rules named in `lately`, under which requests came to the pool in the last minutes.

    Before any came: among all rules that may send some. None where no such rule has an SLO: nothing can be learned.
    `kv_tokens` is the most that any of its workers has room for; None where one does not tell.
    """
    about = [rule for rule in policy.rules if sends(rule, backend, model)]
    slos = [rule.slo for rule in about if rule.name in lately] or [rule.slo for rule in about]
    if not slos:
        return None
    slo = guarding(slos)
    return Guard(slo, scale_bounds(policy.backends[backend], slo, learned, kv_tokens))


def sends(rule: Rule, backend: str, model: str) -> bool:
    """Whether the rule brings its SLO and its requests to this pool."""
    return (
        rule.learned
        and rule.slo != Slo(target=rule.slo.target)
        and (backend in rule.backends or backend in rule.fallback)
        and fits(model, rule.match.model)
    )


def base_us(upstream: Upstream, slo: Slo, learned: Learned) -> float:
    """What the scale multiplies: `limit_work_s` where the policy states it, else what the SLO lets one expect."""
    if upstream.limit_stated:
        return float(upstream.limit)
    return expected_limit_us(upstream.speed, upstream.seats, slo, learned)


def limit_on(upstream: Upstream, slo: Slo, learned: Learned, scale: float, kv_tokens: int | None) -> int:
    """GPU-us of leased work that this worker may hold."""
    base = base_us(upstream, slo, learned)
    within = bounds(base, upstream.speed, upstream.seats, learned, kv_tokens)
    return max(1, round(base * clamp(scale, within)))


def scale_bounds(
    upstreams: Sequence[Upstream], slo: Slo, learned: Learned, kv_tokens: int | None = None
) -> tuple[float, float]:
    """Within what the pool's shared scale moves: as far as the bounds of any of its workers reach."""
    within = [bounds(base_us(one, slo, learned), one.speed, one.seats, learned, kv_tokens) for one in upstreams]
    return min(low for low, _ in within), max(high for _, high in within)
