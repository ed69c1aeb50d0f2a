"""`/readyz`, `/health`: yes or no for anybody, and with `?detail=1` for operators what is known of each upstream."""

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

    @api.get("/health", tags=["operations"])
    async def health(request: Request, response: Response) -> Mapping[str, Any]:
        """/readyz by the name that engines have for it: load tools ask it before they begin."""
        return await readyz(request, response)

    @api.get("/readyz", tags=["operations"])
    async def readyz(request: Request, response: Response, detail: str = "") -> Mapping[str, Any]:
        """A policy is loaded, the store has been read (or is degraded on purpose),
        at least one upstream takes traffic, and nobody has told this process to end."""
        snapshot = services.view.current
        leaving = services.leaving.is_set()
        ready = not leaving and any(state.out is None for state in snapshot.states.values())
        response.status_code = 200 if ready else 503
        said = {"status": "leaving" if leaving else "ready" if ready else "not_ready"}
        if detail != "1" or not operator(request):
            return said
        upstreams = [row(state, snapshot.at) for state in snapshot.states.values()]
        return {**said, "upstreams": upstreams, "ledger": ledger()}

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
