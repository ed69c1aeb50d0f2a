"""`/readyz`: whether this process takes requests; with `?detail=1`, for operators, what is known of each upstream.
`/health`: whether anybody would serve them. Yes or no for anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from gateway.console import access
from gateway.edge.services import Services
from gateway.errors import AdminRefused, InvalidKey
from gateway.model import Reading, UpstreamState

_TOLD = ("engine", "version", "running", "waiting", "kv", "kv_tokens", "seats", "asleep")


def routes(services: Services, ledger: Callable[[], Mapping[str, Any]]) -> APIRouter:
    """`ledger` tells how far it is behind."""
    api, key = APIRouter(), services.settings.admin_key

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
        return said(response, ready=any(state.out is None for state in services.view.current.states.values()))

    @api.get("/readyz", tags=["operations"])
    async def readyz(request: Request, response: Response, detail: str = "") -> Mapping[str, Any]:
        """Nobody has told this process to end. That a policy is loaded, and the store was read or is degraded on
        purpose, is why it answers at all. Upstreams are no matter: all replicas have the same ones, and whoever has
        nobody to serve a request says so in an error that clients understand (docs/adr/0053)."""
        told, snapshot = said(response, ready=True), services.view.current
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
