"""In which order the backends of `spill` are tried: as listed, the cheapest, or the fastest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from gateway.model import GenRequest
from gateway.routing.board import Board, Plan, Pool
from gateway.routing.estimate import estimate
from gateway.routing.forecast import AS_ASSUMED, MANAGED_FIRST_SECONDS


def in_order(pools: Sequence[Pool], plan: Plan, request: GenRequest, board: Board) -> list[Pool]:
    """`pools` as `spill.order` says; equals stay as listed."""
    if plan.order == "cheapest":
        return sorted(pools, key=lambda pool: price(pool, plan, request, board))
    if plan.order == "fastest":
        return sorted(pools, key=lambda pool: first_token(pool, plan, board))
    return list(pools)


def price(pool: Pool, plan: Plan, request: GenRequest, board: Board) -> float:
    """Expected, in USD; one whose price nobody knows is the dearest."""
    found = estimate(request, pool.served, board.known(plan.model.name)).price
    return inf if found is None else found


def first_token(pool: Pool, plan: Plan, board: Board) -> float:
    """Seconds to the first token, as this replica learned from the answers of this backend, else the prior."""
    return MANAGED_FIRST_SECONDS * board.paces.get((pool.backend, plan.model.name), AS_ASSUMED).first
