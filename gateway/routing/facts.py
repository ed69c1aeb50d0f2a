"""The facts that a `when` condition is asked about, built from request, policy and snapshot. Pure.

Only what a condition reads is built. What the snapshot alone says is remembered on the board. A fact that nobody told
is absent: unknown, never zero. docs/policies.md says what each means; `policy.cel_names` declares their types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import Final, NamedTuple

from gateway.model import GenRequest, Learned, Model, Rule, UpstreamState
from gateway.routing.board import Board, remember
from gateway.routing.estimate import expected_price, output_tokens, prompt_tokens, work_of
from gateway.routing.forecast import wait_for_room
from gateway.routing.residency import strictest

Facts = Mapping[str, Mapping[str, object]]
"""Root -> field -> value; None and absent are both unknown."""
LONGEST_TEXT = 512
"""Characters of a header or session; a longer one is unknown, so that no client can make a condition slow."""
_MS = 1_000


class Asking(NamedTuple):
    """One request at one instant. `at`: seconds since the epoch."""

    request: GenRequest
    model: Model
    learned: Learned
    at: float


def _short(text: str | None) -> str | None:
    return None if text is None or len(text) > LONGEST_TEXT else text


def _residency(asking: Asking) -> list[str]:
    request = asking.request
    demand = strictest(request.residency, request.tenant.residency, asking.model.residency)
    return [*(("local",) if demand.local else ()), *sorted(demand.zones)]


def _headers(asking: Asking) -> Mapping[str, str]:
    return {name: value for name, value in asking.request.headers.items() if len(value) <= LONGEST_TEXT}


REQUEST: Final[Mapping[str, Callable[[Asking], object]]] = MappingProxyType(
    {
        "model": lambda asking: asking.request.model,
        "endpoint": lambda asking: asking.request.endpoint,
        "modality": lambda asking: asking.model.modality,
        "priority": lambda asking: asking.request.priority,
        "stream": lambda asking: asking.request.stream,
        "prompt_tokens": lambda asking: prompt_tokens(asking.request, asking.learned),
        "output_tokens": lambda asking: output_tokens(asking.request, asking.learned),
        "prompt_bytes": lambda asking: asking.request.prompt_bytes,
        "n": lambda asking: asking.request.n,
        "max_tokens": lambda asking: asking.request.max_tokens,
        "residency": _residency,
        "headers": _headers,
        "session": lambda asking: _short(asking.request.session),
        "text_only": lambda asking: asking.request.text_only,
        "hour": lambda asking: int(asking.at) // 3600 % 24,
        "minute": lambda asking: int(asking.at) // 60 % 60,
        "weekday": lambda asking: (int(asking.at) // 86_400 + 3) % 7,  # the epoch began on a Thursday
    }
)


@dataclass(frozen=True, slots=True)
class Reads:
    """What a condition reads, sorted out once. `priced` are the backends of which it wants the price too."""

    request: tuple[tuple[str, Callable[[Asking], object]], ...]
    tenant: bool
    fleet: bool
    backends: tuple[str, ...]
    priced: frozenset[str]


def sorted_out(reads: frozenset[str]) -> Reads:
    """`reads` as a Condition tells them: `request.model`, `fleet.load`, `backend.h100.price_usd`."""
    parts = [(root, rest.rpartition(".")) for root, _, rest in (name.partition(".") for name in sorted(reads))]
    of_request = [name for root, (_, _, name) in parts if root == "request"]
    of_backends = [(backend, name) for root, (backend, _, name) in parts if root == "backend"]
    roots = {root for root, _ in parts}
    return Reads(
        request=tuple((name, REQUEST[name]) for name in of_request),
        tenant="tenant" in roots,
        fleet="fleet" in roots,
        backends=tuple(dict.fromkeys(backend for backend, _ in of_backends)),
        priced=frozenset(backend for backend, name in of_backends if name == "price_usd"),
    )


def facts(reads: Reads, request: GenRequest, rule: Rule, board: Board) -> Facts:
    """All that `reads` names, for the match of `rule`."""
    model = board.policy.models[request.model]
    asking = Asking(request, model, board.known(model.name), board.snapshot.at)
    found: dict[str, Mapping[str, object]] = {"request": {name: told(asking) for name, told in reads.request}}
    if reads.tenant:
        tenant = request.tenant
        found["tenant"] = {"name": tenant.name, "tags": sorted(tenant.tags), "priority": tenant.priority}
    if reads.fleet:
        found["fleet"] = fleet_facts(board, rule, model)
    if reads.backends:
        found["backend"] = {name: _backend(name, name in reads.priced, asking, rule, board) for name in reads.backends}
    return found


def _backend(name: str, priced: bool, asking: Asking, rule: Rule, board: Board) -> Mapping[str, object]:
    found = backend_facts(board, name, asking.model, learned=rule.learned)
    served = next((one for one in asking.model.served_by if one.backend == name), None) if priced else None
    if served is None or served.price is None:
        return found
    usd = expected_price(served.price, asking.request, asking.learned, served.offer)
    return found if usd is None else {**found, "price_usd": usd}


def fleet_facts(board: Board, rule: Rule, model: Model) -> Mapping[str, object]:
    """What is true now of the local workers that `rule` names, for requests to `model`; where it names none, because
    it is about what is bought instead, of all that serve the model."""
    key = ("fleet", rule.backends, model.name, rule.learned)
    found = board.facts.get(key)
    if found is None:
        serving = dict.fromkeys(served.backend for served in model.served_by)
        local = _local(rule.backends, board) or _local(serving, board)
        found = remember(board.facts, key, _fleet(board, local, model, learned=rule.learned))
    return found


def _local(backends: Iterable[str], board: Board) -> tuple[str, ...]:
    return tuple(name for name in backends if board.policy.kind(name) == "local")


def _fleet(board: Board, backends: tuple[str, ...], model: Model, *, learned: bool) -> Mapping[str, object]:
    workers = [state for name in backends for state in board.states(name)]
    up = [state for state in workers if state.out is None]
    found: dict[str, object] = {"workers": len(workers), "up": len(up), "inflight": sum(state.inflight for state in up)}
    found.update(board.signals(backends))
    if up:
        limits = [_limit(board, state, model, learned=learned) for state in up]
        found["load"] = _load(up, limits)
        found["wait_ms"] = _MS * min(
            wait_for_room(state.leased, state.outside, _typical(state, board.known(model.name)), limit)
            for state, limit in zip(up, limits, strict=True)
        )
    return found


def backend_facts(board: Board, backend: str, model: Model, *, learned: bool) -> Mapping[str, object]:
    """What is true now of one backend, for requests to `model`: all but its price."""
    key = ("backend", (backend,), model.name, learned)
    found = board.facts.get(key)
    return remember(board.facts, key, _of_backend(board, backend, model, learned)) if found is None else found


def _of_backend(board: Board, backend: str, model: Model, learned: bool) -> Mapping[str, object]:
    states = board.states(backend)
    up = [state for state in states if state.out is None]
    found: dict[str, object] = {"kind": board.policy.kind(backend), "workers": len(states), "up": len(up)}
    found.update(board.signals((backend,)))
    if up:
        found["load"] = _load(up, [_limit(board, state, model, learned=learned) for state in up])
    headroom = [state.headroom for state in up if state.headroom is not None]
    if headroom:
        found["headroom"] = fmean(headroom)
    return found


def _load(up: list[UpstreamState], limits: list[int]) -> float:
    """Mean over workers of leased and outside work as a share of what each may hold; what a worker's gauges claim of
    the latter fills it at most."""
    return fmean((state.leased + min(state.outside, limit)) / limit for state, limit in zip(up, limits, strict=True))


def _limit(board: Board, state: UpstreamState, model: Model, *, learned: bool) -> int:
    found = board.limit(state, model.name) if learned else None
    return state.upstream.limit if found is None else found


def _typical(state: UpstreamState, learned: Learned) -> int:
    """The work of a request of mean size on this worker, GPU-us."""
    return work_of(state.upstream, round(learned.prompt), round(learned.output))
