"""`POST /explain`: what would happen to a request on the fleet of this instant. Nothing is sent, leased or spent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError

from gateway.console.incoming import body
from gateway.edge.services import Services
from gateway.errors import InvalidRequest, NotFound, StoreFault
from gateway.model import Policy
from gateway.money.budgets import Booked
from gateway.policy.case_schema import RequestIn, unwrapped
from gateway.policy.validate import nearest
from gateway.rehearsal.story import tell
from gateway.rehearsal.world import World

MAX_AT_ONCE = 1
"""A story takes some hundred decisions; they run in a thread, so that requests go on meanwhile."""


class Asked(RequestIn):
    """A request as in a case, and the version of the policy that is to decide: in force, or on trial beside it."""

    policy: str | None = None


def explain_routes(services: Services) -> APIRouter:
    """To be included where access has been checked."""
    api = APIRouter()
    turn = asyncio.Semaphore(MAX_AT_ONCE)

    @api.post("/explain")
    async def explain(request: Request) -> Mapping[str, Any]:
        """Body: {path, headers, tenant, body, policy}, or a plain request. Answers with the story that
        `gateway explain --json` prints."""
        asked = read(await body(request, services.settings.max_body_bytes))
        policy = chosen(services, asked)
        world = await world_now(services, policy)
        async with turn:
            return (await asyncio.to_thread(tell, world, asked)).as_data()

    return api


def chosen(services: Services, asked: Asked) -> Policy:
    """The policy that is to decide. Raises NotFound or InvalidRequest."""
    candidate = services.live.candidate
    here = [services.policy, *([] if candidate is None else [candidate.policy])]
    policy = next((one for one in here if asked.policy in (None, one.version)), None)
    if policy is None:
        known = ", ".join(f"`{one.version}`" for one in here)
        raise NotFound(f"no such policy in force or on trial here; there is {known}")
    if asked.tenant is not None and asked.tenant not in policy.tenants:
        raise InvalidRequest(f"unknown tenant; {nearest(asked.tenant, list(policy.tenants))}", param="tenant")
    return policy


async def world_now(services: Services, policy: Policy) -> World:
    """The newest snapshot with its real leases, what each rule has spent, and what this process learned."""
    board = services.board_of(policy)
    return World(policy, board.snapshot, await books(services, policy), board.paces, board.worths, board.zone)


async def books(services: Services, policy: Policy) -> dict[str, Booked | None]:
    """Of each rule whose spill is bounded; None where the store is away."""
    found: dict[str, Booked | None] = {}
    for rule in policy.rules:
        spill = rule.spill
        if spill is None or (spill.budget_usd_per_hour is None and spill.max_share is None):
            continue
        try:
            booked = await services.budgets.booked(rule.name)
        except StoreFault:
            found[rule.name] = None
        else:
            found[rule.name] = booked._replace(arrived=booked.arrived + 1)  # the one that is asked about arrives, too
    return found


def read(raw: bytes) -> Asked:
    """Raises InvalidRequest, which names the place and quotes nothing."""
    try:
        given = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidRequest("(body): is not JSON; give {path, headers, tenant, body}", param="(body)") from None
    try:
        return Asked.model_validate_json(json.dumps(unwrapped(given)))
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "(body)"
        raise InvalidRequest(f"{path}: {first['msg']}; give {{path, headers, tenant, body}}", param=path) from None
