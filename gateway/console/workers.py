"""`/admin/v1/workers` for operators: who is there and how it was found, and what is to become empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Request

from gateway.console.incoming import body
from gateway.console.store_words import in_our_words
from gateway.edge.services import Services
from gateway.errors import InvalidRequest, NotFound
from gateway.model import UpstreamState
from gateway.policy.validate import nearest

MAX_BODY_BYTES = 4 << 10
LONGEST_REASON = 200


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a drain; it may be left out."""

    reason: str = ""


def worker_routes(services: Services) -> APIRouter:
    """To be included where access has been checked."""
    api = APIRouter()

    @api.get("")
    async def every_worker() -> Mapping[str, Any]:
        """All workers of local backends, what is drained that is not there now, and sources that are not heard."""
        states = services.view.current.states
        drained = services.joining.roster.drained
        return {
            "workers": [row(services, one) for one in states.values() if one.upstream.kind == "local"],
            "drained_and_gone": sorted(drained.keys() - states.keys()),
            "faults": services.joining.finders.faults,
        }

    @api.get("/{name}")
    async def one_worker(name: str) -> Mapping[str, Any]:
        return row(services, _known(services, name))

    @api.post("/{name}/drain")
    async def drain(request: Request, name: str) -> Mapping[str, Any]:
        """It takes nothing new from now on, on any replica and after every restart, until `undrain`."""
        state, asked = _known(services, name), read(await body(request, MAX_BODY_BYTES))
        with in_our_words():
            await services.joining.roster.drain(name, asked.reason)
        return row(services, services.view.current.states.get(name, state))

    @api.post("/{name}/undrain")
    async def undrain(name: str) -> Mapping[str, Any]:
        if name not in services.joining.roster.drained:
            _known(services, name)
        with in_our_words():
            was = await services.joining.roster.undrain(name)
        return {"upstream": name, "was_drained": was}

    return api


def row(services: Services, state: UpstreamState) -> dict[str, Any]:
    """`inflight`: leases of all replicas on it, as of the last look at the store."""
    upstream, drained = state.upstream, services.joining.roster.drained.get(state.upstream.name)
    return {
        "upstream": upstream.name,
        "backend": upstream.backend,
        "url": upstream.url,
        "source": upstream.source or "policy",
        "pod": upstream.pod,
        "joined": state.joined,
        "life": state.life,
        "out": state.out,
        "drained": None if drained is None else {"since": drained.at, "reason": drained.reason},
        "inflight": state.inflight,
    }


def _known(services: Services, name: str) -> UpstreamState:
    """Raises NotFound with the nearest names."""
    state = services.view.current.states.get(name)
    if state is None:
        known = [one.upstream.name for one in services.view.current.states.values()]
        raise NotFound(f"no upstream `{name}`; {nearest(name, known)}")
    return state


def read(raw: bytes) -> Asked:
    """Raises InvalidRequest."""
    try:
        asked = msgspec.json.decode(raw, type=Asked) if raw else Asked()
    except msgspec.MsgspecError as fault:
        raise InvalidRequest(f"the body of a drain is {{reason}}: {fault}", param="reason") from None
    if len(asked.reason) > LONGEST_REASON or not asked.reason.isprintable():
        raise InvalidRequest(f"reason: one line of at most {LONGEST_REASON} characters", param="reason")
    return asked
