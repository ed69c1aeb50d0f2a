"""`/readyz`: whether this process takes requests; with `?detail=1`, for operators, what is known of each upstream.
`/health`: whether anybody would serve them now. Yes or no for anybody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from gateway.console import access
from gateway.edge.services import Services
from gateway.errors import AdminRefused, InvalidKey
from gateway.model import Reading, UpstreamState

FIRST_LOOK_SECONDS = 10.0
"""How long a process that never saw an upstream take traffic is not ready. Finders and probes need some seconds after a
start; who has seen none by then will not serve better by waiting: workers may want to register themselves here."""
_TOLD = ("engine", "version", "running", "waiting", "kv", "kv_tokens", "seats", "asleep")


class Start:
    """Whether the start is over: some upstream took traffic once, or `FIRST_LOOK_SECONDS` have passed. It stays over:
    all replicas have the same upstreams, and none is better off where all of them are taken out at once."""

    def __init__(self, now: float) -> None:
        self._until, self._over = now + FIRST_LOOK_SECONDS, False

    def over(self, states: Iterable[UpstreamState], now: float) -> bool:
        self._over = self._over or now >= self._until or serves(states)
        return self._over


def serves(states: Iterable[UpstreamState]) -> bool:
    return any(state.out is None for state in states)


def routes(services: Services, ledger: Callable[[], Mapping[str, Any]]) -> APIRouter:
    """`ledger` tells how far it is behind."""
    api, key, start = APIRouter(), services.settings.admin_key, Start(time.monotonic())

    def operator(request: Request) -> bool:
        try:
            access.check(request.state.call, None if key is None else key.get_secret_value())
        except (InvalidKey, AdminRefused):
            return False
        return True

    def said(response: Response, *, ready: bool) -> Mapping[str, Any]:
        leaving = services.leaving.is_set()
        response.status_code = 200 if ready and not leaving else 503
        return {"status": "leaving" if leaving else "ready" if ready else "not_ready"}

    @api.get("/health", tags=["operations"])
    async def health(response: Response) -> Mapping[str, Any]:
        """As of an engine: at least one upstream takes traffic. Load tools ask it before they begin, and balancers
        that choose between sites with upstreams of their own."""
        return said(response, ready=serves(services.view.current.states.values()))

    @api.get("/readyz", tags=["operations"])
    async def readyz(request: Request, response: Response, detail: str = "") -> Mapping[str, Any]:
        """Its start is over, and nobody has told this process to end. That a policy is loaded, and the store was read
        or is degraded on purpose, is why it answers at all. Upstreams that go out later are no matter: whoever has
        nobody to serve a request says so in an error that clients understand (docs/adr/0053)."""
        snapshot = services.view.current
        told = said(response, ready=start.over(snapshot.states.values(), time.monotonic()))
        if detail != "1" or not operator(request):
            return told
        upstreams = [row(state, snapshot.at) for state in snapshot.states.values()]
        return {**told, "upstreams": upstreams, "ledger": ledger()}

    return api


def row(state: UpstreamState, now: float) -> dict[str, Any]:
    """One upstream at one instant; null is unknown. `missing` names what its engine should publish and does not."""
    upstream = state.upstream
    said = {"upstream": upstream.name, "backend": upstream.backend, "kind": upstream.kind, "out": state.out}
    return said if state.reading is None else {**said, **reading(state.reading, now)}


def reading(told: Reading, now: float) -> dict[str, Any]:
    known = {name: getattr(told, name) for name in _TOLD}
    return {
        **known,
        "age_seconds": round(max(0.0, now - told.at), 3),
        "started": told.started,
        "models": told.models,
        "adapters": told.adapters,
        "missing": told.missing,
    }
