"""The ledger in the admin API: sums, single attempts, what was saved, advice. Worked out in threads: requests go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from fastapi import APIRouter, Request, Response

from gateway.edge.services import Services
from gateway.errors import InvalidRequest
from gateway.reports.ask import MOST_LINES, ask_of, micro_of, share_of
from gateway.reports.ask import UNRECONCILED as STATE
from gateway.reports.saved import UTILISATION
from gateway.reports.writing import as_csv, as_json, encoded

UNRECONCILED, UTILISED, GPU_USD = "unreconciled", "utilisation", "gpu_usd"
JSON, CSV = "application/json", "text/csv"
MORE = "x-gateway-more"
"""Of CSV, which has no place for it: whether there are lines after these."""
SPAN = ("from", "to")
"""All that can be asked of what compares the whole: rent belongs to no tenant."""


def ledger_routes(services: Services) -> APIRouter:
    """To be included where access has been checked."""
    api, desk = APIRouter(), services.desk

    @api.get("")
    async def sums(request: Request) -> Response:
        """Sums by what `by` names; `unreconciled=true` lists the attempts that are. CSV where `Accept` asks for it."""
        given = request.query_params.multi_items()
        as_file = CSV in request.headers.get("accept", "")
        ask = ask_of([(name, value) for name, value in given if name != UNRECONCILED], time.time(), most=MOST_LINES)
        if as_file and "limit" not in request.query_params:
            ask = replace(ask, limit=MOST_LINES)
        if request.query_params.get(UNRECONCILED) in ("true", "1"):
            report = await desk.attempts(replace(ask, where={**ask.where, **STATE}))
        else:
            report = await desk.report(ask)
        if as_file:
            more = {MORE: str(report.more).lower()}
            return Response(await asyncio.to_thread(as_csv, report), media_type=CSV, headers=more)
        return Response(await asyncio.to_thread(as_json, report), media_type=JSON)

    @api.get("/saved")
    async def saved(request: Request) -> Response:
        """The same traffic all bought, and all on our own GPUs; `utilisation` (0 to 1) is of further ones."""
        given = request.query_params.multi_items()
        made = await desk.material(ask_of(_span(given), time.time()))
        policy, share = services.policy, utilisation_of(request)
        return Response(await asyncio.to_thread(lambda: encoded(made.saved(policy, share))), media_type=JSON)

    @api.get("/advice")
    async def advice(request: Request) -> Response:
        """What routed data advises, with its working; `gpu_usd` is for what one GPU is bought."""
        given = request.query_params.multi_items()
        facts = await desk.facts(ask_of(_span(given), time.time()))
        policy, share, price = services.policy, utilisation_of(request), request.query_params.get(GPU_USD)
        each = None if price is None else micro_of(GPU_USD, price)
        return Response(await asyncio.to_thread(lambda: encoded(facts.advise(policy, share, each))), media_type=JSON)

    return api


def _span(given: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    for name, _ in given:
        if name not in (*SPAN, UTILISED, GPU_USD):
            raise InvalidRequest(f"{name}: not known here; from, to, utilisation, gpu_usd", param=name)
    return [(name, value) for name, value in given if name in SPAN]


def utilisation_of(request: Request) -> Fraction:
    text = request.query_params.get(UTILISED)
    return UTILISATION if text is None else share_of(UTILISED, text)
