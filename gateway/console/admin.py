"""The admin API, `/admin/v1`: what is in force and why, reload, rollout. Every route needs the operator's access."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from gateway.console import access, status, store_words
from gateway.console.budgets import budget_routes
from gateway.console.explain import explain_routes
from gateway.console.gpus import gpu_routes
from gateway.console.incoming import body
from gateway.console.jobs import job_admin_routes
from gateway.console.keys import key_routes
from gateway.console.ledger import ledger_routes
from gateway.console.live.feed import Feed
from gateway.console.live.routes import live_routes
from gateway.console.receipts import receipt_routes
from gateway.console.workers import worker_routes
from gateway.edge.services import Services
from gateway.errors import InvalidRequest, PolicyFault, PolicyInvalid
from gateway.jobs.shelf import Shelf
from gateway.policy.candidate import Trial


class Rollout(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a rollout: `files` maps names to texts, `share` is 0..1 and belongs to mode `share`."""

    mode: Literal["shadow", "share"]
    files: dict[str, str]
    share: float = 0.0


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a stop or a promote: the candidate that its sender looked at."""

    version: str


def router(services: Services, feed: Feed, shelf: Shelf | None = None) -> APIRouter:
    """To add routes elsewhere: `api.include_router(...)` here; access is checked for all of them. `shelf`: None where
    there are no jobs."""
    key = services.settings.admin_key

    async def operator(request: Request) -> None:
        access.check(request.state.call, None if key is None else key.get_secret_value())

    api = APIRouter(prefix="/admin/v1", tags=["admin"], dependencies=[Depends(operator)])

    @api.get("/status")
    async def get_status() -> Mapping[str, Any]:
        """The detail of /readyz: policy, faults with their places, store, who is out and why, all replicas."""
        return await status.overview(services)

    api.include_router(live_routes(feed))
    api.include_router(explain_routes(services))
    if shelf is not None:
        api.include_router(job_admin_routes(shelf))
    api.include_router(worker_routes(services), prefix="/workers")
    api.include_router(gpu_routes(services))
    api.include_router(budget_routes(services))
    api.include_router(key_routes(services), prefix="/keys")
    api.include_router(receipt_routes(services), prefix="/receipts")
    api.include_router(ledger_routes(services), prefix="/ledger")
    api.include_router(policies(services), prefix="/policies")
    api.include_router(rollout(services), prefix="/policies/rollout")
    return api


def policies(services: Services) -> APIRouter:
    api = APIRouter()

    @api.get("")
    async def get_policies() -> Mapping[str, Any]:
        """What is in force on each replica, what was announced, and which versions the store holds."""
        return await status.policies(services)

    @api.post("/reload")
    async def reload() -> Mapping[str, Any]:
        """Reads the folder now; 422 with every fault where it does not compile, and nothing changes."""
        with in_our_words():
            changed = await services.versions.reload()
        return {"changed": changed, **services.versions.state()}

    return api


def rollout(services: Services) -> APIRouter:
    api, versions = APIRouter(), services.versions

    @api.get("")
    async def how_it_goes() -> Mapping[str, Any]:
        """Over all replicas."""
        return await status.rollout(services)

    @api.post("")
    async def start(request: Request) -> Mapping[str, Any]:
        """Puts a folder's files on trial on all replicas: in the shadow, or for a share of the sessions."""
        asked = read_rollout(await body(request, services.settings.max_body_bytes))
        files = {name: text.encode() for name, text in asked.files.items()}
        with in_our_words():
            candidate = await versions.roll_out(Trial("", asked.mode, asked.share), files)
        return {"candidate": candidate.policy.version, "beside": services.policy.version}

    @api.post("/stop")
    async def stop(request: Request) -> Mapping[str, Any]:
        """Ends the trial of `version` everywhere; the policy in force stays. 409 where another one is on trial."""
        asked = read_named(await body(request, services.settings.max_body_bytes))
        with in_our_words():
            await versions.end_trial(asked.version)
        return {"in_force": services.policy.version}

    @api.post("/promote")
    async def promote(request: Request) -> Mapping[str, Any]:
        """The candidate `version` becomes the policy in force everywhere; folders on disk are left as they are. 409
        where another one is on trial."""
        asked = read_named(await body(request, services.settings.max_body_bytes))
        with in_our_words():
            await versions.promote(asked.version)
        return {"in_force": asked.version, "folder": services.live.folder.version}

    return api


@contextmanager
def in_our_words() -> Iterator[None]:
    """What goes wrong with policies becomes an answer: PolicyInvalid or NoCapacity."""
    try:
        with store_words.in_our_words("the replicas share policies"):
            yield
    except PolicyFault as fault:
        raise PolicyInvalid(f"the policy does not compile: {fault}", faults=fault.faults) from None


def read_named(raw: bytes) -> Named:
    """Raises InvalidRequest."""
    try:
        return msgspec.json.decode(raw, type=Named)
    except msgspec.MsgspecError:
        raise InvalidRequest(
            'name the candidate that you looked at: {"version": ...}, as GET /admin/v1/policies/rollout tells it',
            param="version",
        ) from None


def read_rollout(raw: bytes) -> Rollout:
    """Raises InvalidRequest."""
    try:
        asked = msgspec.json.decode(raw, type=Rollout)
    except msgspec.MsgspecError as fault:
        raise InvalidRequest(f"the body of a rollout is {{mode, share, files}}: {fault}") from None
    if (asked.mode == "share") != (0 < asked.share <= 1):
        raise InvalidRequest(
            "share: more than 0 and at most 1 with mode `share`; leave it out with `shadow`", param="share"
        )
    return asked


async def answer_invalid(request: Request, error: Exception) -> Response:
    """Our error body, with the faults one by one."""
    assert isinstance(error, PolicyInvalid)  # noqa: S101 - registered for PolicyInvalid alone
    told = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    made = msgspec.json.encode({"error": {**told, "faults": list(error.faults)}})
    return Response(made, error.status, media_type="application/json")
