"""States that a gateway is seldom in: the real page, and a feed that tells of them, each below a path of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.responses import StreamingResponse

from gateway.console.dashboard import dashboard_routes
from gateway.console.live.feed import KINDS, event
from gateway.console.live.history import OUTCOMES
from gateway.console.live.rows import COLUMNS, Row
from gateway.console.live.sources import REFUSED
from gateway.flow import NO_RULE

OLD, NEW = "003fef397057", "9b1d77c0aa31"
OUT = {
    "h100-1": ("drained", "new driver, ticket 4711"),
    "h100-2": ("draining", "moves to another rack"),
    "h100-3": ("out", "unreachable"),
    "h100-4": ("out", "gpu fault: xid 79"),
    "h100-5": ("out", "errors"),
    "h100-6": ("out", "late"),
    "h100-7": ("warming", None),
    "h100-8": ("asleep", None),
}
TALLY = {"same": 1204, "different": 31, "renamed": 6, "fields": {"outcome": 19, "upstream": 31, "reason": 7}}
FAULT = "routing.yaml:12:7: rules[1].route.spil: unknown key; did you mean `spill`?"


def worker(name: str, state: str = "up", why: str | None = None) -> Row:
    gone = state in ("out", "drained", "asleep")
    return Row(
        name, "h100", "local", 2, state, why, 0.0 if gone else 0.62, 0.0, 0, 12, 0 if gone else 12, 0.4, 0.7, 8, "H100",
        1.51, None, 34.0 if state == "out" else None,
    )  # fmt: skip


def rows(*, broken: bool) -> list[Row]:
    api = Row("gmi", "gmi", "managed", 2, "up", None, 0.1, 0.0, None, None, 20, *[None] * 5, 0.8, None)
    return [*(worker(name, *(OUT[name] if broken else ("up",))) for name in OUT), api]


def candidate(mode: str) -> dict[str, Any]:
    tally = TALLY if mode == "shadow" else {"tried": 61, "kept": 1180}
    return {"version": NEW, "mode": mode, "share": 0.05, "tally": tally}


def money(*, spent: bool) -> dict[str, Any]:
    names = ("name", "period", "limit_usd", "used_usd", "held_usd")
    budgets = (
        [("tenant acme", "2026-11-22", 250.0, 250.0, 0.0), ("backend gmi", "2026-11", 6000.0, 5100.0, 8.4)]
        if spent
        else []
    )
    shown = [{**dict(zip(names, row, strict=True)), "left": 1 - (row[3] + row[4]) / row[2]} for row in budgets]
    sums = {"managed": 182.4173, "own": 6120.5}
    return {"day": "2026-11-22", "spent_usd": sums, "saved_usd": -84.2, "simulated": False, "budgets": shown}


def latency() -> dict[str, Any]:
    quantiles = {"p50": 210.0, "p95": 1612.0, "p99": 2110.0}
    slo = {"slo_ms": 1000.0, "target": 0.99, "met": 0.913, "minutes": [], "p95_by_minute": []}
    return {"rules": {"chat": {"n": 1241, "ttft_ms": quantiles, **slo}}}


def told(trouble: str) -> Mapping[str, Mapping[str, Any]]:
    """Kind -> its event."""
    now = time.time()
    minutes = [int(now // 60 * 60) - 60 * back for back in range(3)][::-1]
    mode = {"shadow": "shadow", "share": "share"}.get(trouble)
    tried = None if mode is None else candidate(mode)
    replica = {"version": OLD, "folder": OLD, "from": "folder", "store_faults": [], "pid": 7, "trial": tried}
    faults = [FAULT] if trouble == "refused" else []
    replicas = [{"replica": f"a{one}", "host": f"gw-{one}", "faults": faults, **replica} for one in (1, 2)]
    work = {"queue": 17, "in_flight": 124, "jobs_running": 1}
    return {
        "hello": {
            "gateway": "0.1.0",
            "replica": "a1",
            "columns": COLUMNS,
            "outcomes": OUTCOMES,
            "rules": ["chat"],
            "now": now,
        },
        "fleet": {"all": True, "now": now, "rows": rows(broken=trouble == "out"), "gone": []},
        "flow": {
            "all": True,
            "minutes": minutes,
            "rules": {"chat": {"local": [80, 90, 70], "spilled": [0, 20, 31]}, NO_RULE: {"refused": [3, 0, 9]}},
        },
        "latency": {"all": True, **latency()},
        "money": {"all": True, **money(spent=trouble == "spent")},
        "policy": {
            "all": True,
            "in_force": OLD,
            "announced": None,
            "differ": False,
            "replicas": replicas,
            "candidate": tried,
            "stored": [OLD, NEW],
        },
        "status": {
            "all": True,
            "ready": True,
            "degraded": trouble == "degraded",
            "faults": [f"{REFUSED}: {fault}" for fault in faults],
            **work,
        },
    }


async def feed(trouble: str) -> AsyncIterator[bytes]:
    events = told(trouble)
    for kind in KINDS:
        yield event(kind, events[kind])
    await asyncio.Event().wait()


def app() -> FastAPI:
    """Each of TROUBLES at `/NAME/dashboard`."""
    api = FastAPI()
    for trouble in TROUBLES:
        api.include_router(dashboard_routes(), prefix=f"/{trouble}")

    @api.get("/{trouble}/admin/v1/live")
    async def live(trouble: str) -> StreamingResponse:
        return StreamingResponse(feed(trouble), media_type="text/event-stream")

    return api


TROUBLES = {
    "shadow": "policy",
    "share": "policy",
    "out": "fleet",
    "degraded": "overview",
    "spent": "overview",
    "refused": "policy",
}
"""And the view in which it is looked at."""
