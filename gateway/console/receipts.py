"""`/admin/v1/receipts` for operators: receipts of all tenants, newest first, and the story that one tells. Never a
prompt: no receipt has one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Query, Request

from gateway.console.candidates import candidates
from gateway.console.store_words import in_our_words
from gateway.edge.services import Services
from gateway.errors import InvalidRequest, NotFound
from gateway.model import Policy
from gateway.receipts import Filed, Place, Receipts
from gateway.rehearsal.receipt_shape import as_receipt
from gateway.rehearsal.recorded import DROPPED, OF_ITS_CLASS, story_of
from gateway.rehearsal.sentences import why

SHARED = "the replicas share receipts"
PAGE, MOST_PAGE = 50, 200
BATCH = 100
"""Receipts of one call to the store, which does nothing else meanwhile: some 150 KB."""
MOST_LOOKED_AT = 2000
"""By one search: who finds too little goes on from `older`."""
FILTERS = ("outcome", "reason", "rule", "model", "upstream", "tenant")
KNOWN = frozenset({*FILTERS, "limit", "since", "before", "older"})
_OLDER = re.compile(r"(\d{1,12})\.(\d{1,9})\.(\d{1,9})")
_SECOND = re.compile(r"\d{1,12}(\.\d{1,6})?")


class Search(msgspec.Struct, frozen=True):
    """`since` is included, `before` is not: seconds of the epoch at which requests were over."""

    wanted: Mapping[str, str]
    limit: int = PAGE
    since: float = 0.0
    older: Place | None = None


def receipt_routes(services: Services) -> APIRouter:
    """To be included where access has been checked."""
    api = APIRouter()

    @api.get("")
    async def search(request: Request, limit: int = Query(PAGE, ge=1, le=MOST_PAGE)) -> Mapping[str, Any]:
        """Newest first: `?outcome=&reason=&rule=&model=&upstream=&tenant=&since=&before=`; `older` goes on where the
        page before ended. A page may hold less than `limit` and have older ones: a search is bounded."""
        with in_our_words(SHARED):
            found, older = await find(services.receipts, services.policy, read(request.query_params, limit))
        return {"receipts": found, "older": None if older is None else ".".join(map(str, older))}

    @api.get("/{receipt_id}")
    async def one(receipt_id: str) -> Mapping[str, Any]:
        """The whole of it, its story in sentences, and whom the decision looked at."""
        with in_our_words(SHARED):
            found = await services.receipts.look(receipt_id)
        if found is None:
            raise NotFound(
                "no such receipt; they are kept for GATEWAY_RECEIPTS_HOURS, and filed a moment after the end"
            )
        receipt = msgspec.json.decode(found)
        return {"receipt": receipt, **told(services.policy, receipt)}

    return api


def told(policy: Policy, receipt: Any) -> dict[str, Any]:
    """Its `story`, without what the table of `candidates` says. Nothing for a receipt that another release made
    otherwise."""
    try:
        known = as_receipt(receipt)
    except ValueError:
        return {"story": [], "candidates": []}
    lines = why(story_of(policy, known).as_data())
    shown = [line for line in lines if line != OF_ITS_CLASS and not line.startswith(DROPPED)]
    return {"story": shown, "candidates": candidates(policy, known)}


def read(given: Mapping[str, str], limit: int) -> Search:
    """Raises InvalidRequest."""
    for name in given:
        if name not in KNOWN:
            raise InvalidRequest(f"{name}: not known here; {', '.join(sorted(KNOWN))}", param=name)
    older = _place(given["older"]) if given.get("older") else None
    if older is None and given.get("before"):
        older = Place(int(_second(given, "before")))
    wanted = {name: given[name] for name in FILTERS if given.get(name)}
    return Search(wanted, limit, _second(given, "since"), older)


async def find(receipts: Receipts, policy: Policy, search: Search) -> tuple[list[dict[str, Any]], Place | None]:
    """What was found, and where to go on; None: there is nothing older. Raises StoreFault."""
    found: list[dict[str, Any]] = []
    place, looked = search.older, 0
    while True:
        page = await receipts.page(BATCH, place)
        for number, one in enumerate(page.filed, 1):
            if one.second < search.since:
                return found, None
            row = row_of(policy, one) if one.json else {}
            if row and all(row[name] == value for name, value in search.wanted.items()):
                found.append(row)
            if len(found) == search.limit:
                ends = page if number == len(page.filed) else await receipts.page(number, page.begins)
                return found, ends.ends
        place, looked = page.ends, looked + len(page.filed)
        if place is None or looked >= MOST_LOOKED_AT:
            return found, place


def row_of(policy: Policy, filed: Filed) -> dict[str, Any]:
    receipt = msgspec.json.decode(filed.json)
    times, cost, attempts = receipt.get("times") or {}, receipt.get("cost") or {}, receipt.get("attempts") or [{}]
    chosen = receipt.get("chosen")
    upstream = policy.upstreams.get(chosen or "")
    return {
        "id": receipt["id"],
        "time": receipt["time"],
        "tenant": filed.tenant,
        "model": receipt.get("model"),
        "rule": receipt.get("rule"),
        "outcome": receipt.get("outcome"),
        "reason": receipt.get("reason") or receipt.get("error"),
        "backend": None if upstream is None else upstream.backend,
        "upstream": chosen,
        "status": attempts[-1].get("status"),
        "ttft_ms": times.get("ttft_ms"),
        "total_ms": times.get("total_ms"),
        "cost_usd": cost.get("usd"),
    }


def _place(text: str) -> Place:
    found = _OLDER.fullmatch(text)
    if found is None:
        raise InvalidRequest("older: give it as the page before told it", param="older")
    return Place(*map(int, found.groups()))


def _second(given: Mapping[str, str], name: str) -> float:
    text = given.get(name) or "0"
    if _SECOND.fullmatch(text) is None:
        raise InvalidRequest(f"{name}: seconds since 1970-01-01 UTC", param=name)
    return float(text)
