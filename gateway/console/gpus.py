"""GPUs in the admin API: what they do now, their last hour, clearing a fault, and the heartbeats of agents."""

from __future__ import annotations

import hmac
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import msgspec
from fastapi import APIRouter, Request

from gateway.console.incoming import body
from gateway.console.store_words import in_our_words
from gateway.edge.services import Services
from gateway.errors import AdminRefused, InvalidKey, InvalidRequest, NotFound, StoreFault
from gateway.fleet.gpu_history import ENTRIES, FIELDS, STEP_SECONDS, Moment
from gateway.model import STANDING_FAULTS, THROTTLES, GpuSample, Upstream
from gateway.money.keys import credential

MOST_BEAT_BYTES = 64 << 10
MOST_GPUS, MOST_XIDS, MOST_PIDS = 32, 64, 256
"""Of one host; XIDs and processes of one GPU."""
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_UUID = re.compile(r"(GPU|MIG)-[A-Za-z0-9/-]{1,96}")
_INSTANCE = re.compile(r"[0-9]{1,16}")
_SHARES = ("sm", "dram", "util")
_AMOUNTS = ("memory_used", "memory_total", "power", "index", "xid", "ecc", "remapped", "window")
_MOST = 1e9
_beat = msgspec.json.Decoder(tuple[GpuSample, ...])


def gpu_routes(services: Services) -> APIRouter:
    """To be included where access has been checked."""
    api = APIRouter()

    @api.get("/gpus")
    async def now() -> Mapping[str, Any]:
        """The GPUs of each worker as last told, with their age in seconds, and the fault that keeps it out; hosts whose
        agents speak of GPUs that no worker has, with the seconds since."""
        seen = services.view.current
        strangers: Mapping[str, float] = {}
        with suppress(StoreFault):
            strangers = await services.gpus.agents.strangers()
        return {
            "agents_of_no_worker": strangers,
            "workers": {
                name: {
                    "backend": state.upstream.backend,
                    "age": None if state.reading.gpu_at is None else round(max(0.0, seen.at - state.reading.gpu_at), 3),
                    "fault": state.reading.gpu_fault,
                    "gpus": [_row(gpu) for gpu in state.reading.gpus],
                }
                for name, state in seen.states.items()
                if state.reading is not None and (state.reading.gpus or state.reading.gpu_fault)
            },
        }

    @api.get("/gpus/{upstream}/history")
    async def last_hour(upstream: str, since: float | None = None) -> Mapping[str, Any]:
        """Means over each 10 s: one list per field and GPU, oldest first."""
        with in_our_words("the replicas share what is known of GPUs"):
            found = await services.gpus.history.read(known(services, upstream).name, since)
        gpus = [{"index": index, **_columns(moments)} for index, moments in sorted(found.items())]
        return {"upstream": upstream, "step_seconds": STEP_SECONDS, "steps": ENTRIES, "gpus": gpus}

    @api.post("/workers/{name}/clear")
    async def clear(name: str) -> Mapping[str, Any]:
        """The operator's word that the fault is mended. The worker comes back as soon as its GPUs agree."""
        worker = known(services, name)
        with in_our_words("the replicas share what is known of GPUs"):
            await services.gpus.clear(worker.name)
        reading = services.view.current.states[worker.name].reading
        return {"worker": worker.name, "fault": None if reading is None else reading.gpu_fault}

    return api


def agent_routes(services: Services) -> APIRouter:
    """`POST /admin/v1/agents/{host}`: its own token, which opens nothing else."""
    token = services.settings.agent_token

    api = APIRouter(prefix="/admin/v1/agents", tags=["agents"])

    @api.post("/{host}")
    async def beat(host: str, request: Request) -> Mapping[str, Any]:
        """The GPUs of one host as JSON: a list of objects with the fields of GpuSample (docs/gpus.md). `used` are those
        that workers have."""
        own = check(request.state.call.headers, None if token is None else token.get_secret_value(), host)
        if not _HOST.fullmatch(host):
            raise InvalidRequest("the host must be a host name", param="host")
        told = read(await body(request, MOST_BEAT_BYTES))
        with in_our_words("the replicas share what is known of GPUs"):
            used = await services.gpus.agents.push(services.policy, host, told, own=own)
        if used is None:
            also = "" if own else ", and none without a hostname has any of these GPUs as `gpu_uuid`"
            raise NotFound(f"no worker without `dcgm` has `hostname: {host}` in backends.yaml{also}")
        return {"host": host, "gpus": len(told), "used": used}

    return api


def host_token(token: str, host: str) -> str:
    """What the agent of one host may show instead of the agents' token: it speaks for workers of this host alone."""
    return hmac.new(token.encode(), host.encode(), sha256).hexdigest()


def check(headers: dict[bytes, bytes], token: str | None, host: str) -> bool:
    """Whether the token is the host's own, not that of all agents. Raises InvalidKey or AdminRefused."""
    if token is None:
        raise AdminRefused("no agent may tell of its GPUs here: set GATEWAY_AGENT_TOKEN")
    given = sha256((credential(headers) or "").encode()).digest()
    known = [sha256(one.encode()).digest() for one in (token, host_token(token, host))]
    fits = [hmac.compare_digest(given, one) for one in known]
    if not any(fits):
        raise InvalidKey("send the agent token as `Authorization: Bearer TOKEN`")
    return not fits[0]


def known(services: Services, name: str) -> Upstream:
    """Raises NotFound."""
    upstream = services.policy.upstreams.get(name)
    if upstream is None:
        raise NotFound("no upstream of the policy in force has this name")
    return upstream


def read(raw: bytes) -> tuple[GpuSample, ...]:
    """A heartbeat whose every value can be true. Raises InvalidRequest."""
    try:
        told = _beat.decode(raw)
    except msgspec.MsgspecError as fault:
        raise InvalidRequest(f"a heartbeat is a list of GPUs: {fault}") from None
    if len(told) > MOST_GPUS:
        raise InvalidRequest(f"more than {MOST_GPUS} GPUs")
    for place, gpu in enumerate(told):
        wrong = _wrong(gpu)
        if wrong is not None:
            raise InvalidRequest(f"[{place}].{wrong} is nothing that a GPU says", param=wrong)
    return told


def _wrong(gpu: GpuSample) -> str | None:
    """The field of a sample that cannot be."""
    if gpu.uuid is None and gpu.index is None:
        return "uuid"
    if gpu.uuid is not None and not _UUID.fullmatch(gpu.uuid):
        return "uuid"
    if gpu.instance is not None and not _INSTANCE.fullmatch(gpu.instance):
        return "instance"
    for names, most in ((_SHARES, 1.0), (_AMOUNTS, _MOST)):
        for name in names:
            value = getattr(gpu, name)
            if value is not None and not 0 <= value <= most:
                return name
    if gpu.temperature is not None and not math.fabs(gpu.temperature) < _MOST:
        return "temperature"
    if len(gpu.xids or ()) > MOST_XIDS or any(min(pair) < 0 or max(pair) > _MOST for pair in gpu.xids or ()):
        return "xids"
    if gpu.fault is not None and gpu.fault not in STANDING_FAULTS:
        return "fault"
    if not THROTTLES.issuperset(gpu.throttle):
        return "throttle"
    return "pids" if len(gpu.pids) > MOST_PIDS or any(not 0 <= pid <= _MOST for pid in gpu.pids) else None


def _columns(moments: list[Moment]) -> dict[str, list[Any]]:
    return {name: [getattr(one, name) for one in moments] for name in ("at", *FIELDS)}


def _row(gpu: GpuSample) -> dict[str, Any]:
    return {**asdict(gpu), "use": gpu.use}
