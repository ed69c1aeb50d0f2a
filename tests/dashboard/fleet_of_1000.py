"""A thousand workers that nobody has: the real page, and a feed that speaks as `gateway/console/live` does. What it
tells is made up, but always the same; with each event a tenth of the rows changes."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import FastAPI
from starlette.responses import StreamingResponse

from gateway.console.dashboard import dashboard_routes
from gateway.console.live.feed import KINDS, event
from gateway.console.live.history import OUTCOMES
from gateway.console.live.rows import COLUMNS, Row

WORKERS = 1000
MOVING = WORKERS // 10
RULES = {"chat": 140.0, "agents": 45.0, "embeddings": 30.0, "flagged": 12.0}
"""Requests a minute, at the least."""
SEED = 7
_KINDS = ("H100", "H200", "B200")


def workers(rng: random.Random) -> dict[str, Row]:
    made = {}
    for number in range(WORKERS):
        kind = _KINDS[number % len(_KINDS)]
        name = f"{kind.lower()}-{number:04d}"
        made[name] = worker(rng, name, kind, rng.random())
    for number in range(3):
        name = f"gmi-{number + 1}"
        made[name] = Row(
            name, "gmi", "managed", 6, "up", None, 0.1 * number, 0.0, None, None, 20, *[None] * 5, 0.8, None
        )
    return made


def worker(rng: random.Random, name: str, kind: str, dice: float = 1.0) -> Row:
    """`dice`, 0 to 1: the least are out, draining or warming."""
    state, why = ("out", "unhealthy: connection refused") if dice < 0.01 else ("up", None)
    if 0.01 <= dice < 0.016:
        state, why = "draining", "new driver, ticket 4711"
    if 0.016 <= dice < 0.024:
        state = "warming"
    load = 0.0 if state == "out" else round(min(1.0, rng.betavariate(5, 3)), 2)
    queue = int(max(0.0, load - 0.85) * 60)
    return Row(
        name, kind.lower(), "local", 3, state, why, load, 0.0, queue, int(load * 60), int(load * 62),
        round(load * 0.9, 2), round(min(1.0, load * 1.15), 2), 2, kind, 1.51, None, None,
    )  # fmt: skip


def flow(rng: random.Random, now: float) -> dict[str, Any]:
    last = int(now // 60 * 60)
    minutes = [last - 60 * back for back in range(59, -1, -1)]
    rules: dict[str, Any] = {}
    for rule, base in RULES.items():
        series: dict[str, list[int]] = {name: [] for name in ("local", "spilled", "fallback", "refused")}
        for place in range(60):
            surge = max(0.0, 1 - abs(place - 36) / 14) if rule != "flagged" else 0.0
            offered = base * (1 + 1.6 * surge) * rng.uniform(0.94, 1.06)
            kept = min(offered, base * 1.5 * rng.uniform(0.98, 1.02))
            failing = base * 0.25 if 47 <= place < 51 and rule in ("chat", "agents") else 0.0
            series["local"].append(int(kept - failing))
            series["spilled"].append(int(offered - kept))
            series["fallback"].append(int(failing))
            series["refused"].append(int(base * 0.04) if place in (40, 41) and rule == "chat" else 0)
        rules[rule] = {name: counts for name, counts in series.items() if any(counts)}
    return {"all": True, "minutes": minutes, "rules": rules}


def latency(rng: random.Random, minutes: list[int]) -> dict[str, Any]:
    def of(p95: float, slo: float | None, met: float | None) -> dict[str, Any]:
        wave = [
            round(p95 * (0.8 + 0.35 * max(0.0, 1 - abs(place - 37) / 12)) * rng.uniform(0.93, 1.07))
            for place in range(60)
        ]
        quantiles = {"p50": round(p95 * 0.42), "p95": p95, "p99": round(p95 * 1.35)}
        target = None if slo is None else 0.99
        return {
            "n": 11240,
            "ttft_ms": quantiles,
            "slo_ms": slo,
            "target": target,
            "met": met,
            "minutes": minutes,
            "p95_by_minute": wave,
        }

    rules = {"chat": of(612, 1000, 0.9971), "agents": of(1480, 1500, 0.9834), "embeddings": of(88, 250, 0.9998)}
    return {"all": True, "rules": {**rules, "flagged": of(940, None, None)}}


def events(rng: random.Random, troubled: bool) -> Iterator[bytes]:
    now = time.time()
    fleet, told = workers(rng), flow(rng, now)
    quarter = {
        "all": True,
        "day": "2026-11-22",
        "spent_usd": {"managed": 182.4173, "own": 6120.5},
        "saved_usd": 2841.93,
        "simulated": False,
    }
    budgets = [
        ("tenant acme", "2026-11-22", 250.0, 231.2, 3.1),
        ("backend gmi", "2026-11", 6000.0, 2210.0, 8.4),
        ("pipeline nightly", "2026-11-22", 40.0, 3.2, 0.0),
    ]
    names = ("name", "period", "limit_usd", "used_usd", "held_usd")
    shown = [
        {**dict(zip(names, row, strict=True)), "left": round(1 - (row[3] + row[4]) / row[2], 4)} for row in budgets
    ]
    yield event(
        "hello",
        {
            "gateway": "0.1.0",
            "replica": "a1",
            "columns": COLUMNS,
            "outcomes": OUTCOMES,
            "rules": list(RULES),
            "buckets_ms": [],
            "now": now,
        },
    )
    yield event("fleet", {"all": True, "now": now, "rows": list(fleet.values()), "gone": []})
    yield event("flow", told)
    yield event("latency", latency(rng, told["minutes"]))
    yield event("money", {**quarter, "budgets": shown})
    replicas = [
        {
            "replica": f"a{number}",
            "version": "9b1d77c0aa31" if troubled and number == 2 else "003fef397057",
            "folder": "003fef397057",
            "from": "folder",
            "faults": [],
            "store_faults": [],
            "trial": None,
            "host": f"gw-{number}",
            "pid": 7,
        }
        for number in (1, 2)
    ]
    yield event(
        "policy",
        {
            "all": True,
            "in_force": "003fef397057",
            "announced": None,
            "differ": troubled,
            "replicas": replicas,
            "candidate": None,
            "stored": ["003fef397057", "9b1d77c0aa31"],
        },
    )
    yield event(
        "status",
        {
            "all": True,
            "ready": True,
            "degraded": troubled,
            "faults": [],
            "queue": 17,
            "in_flight": 31240,
            "jobs_running": 12,
        },
    )
    moving = [row for row in fleet.values() if row.kind == "local" and row.state == "up"]
    while True:
        rows = [worker(rng, row.name, row.gpu_kind or "") for row in rng.sample(moving, MOVING)]
        yield event("fleet", {"all": False, "now": time.time(), "rows": rows, "gone": []})


def app(second: float = 1.0) -> FastAPI:
    """`second`: between two events. At `/troubled/dashboard` replicas differ, and have no store; at `/ending/dashboard`
    the stream ends when all was told once."""
    api = FastAPI()
    api.include_router(dashboard_routes())
    api.include_router(dashboard_routes(), prefix="/troubled")
    api.include_router(dashboard_routes(), prefix="/ending")

    @api.get("/admin/v1/live")
    async def live() -> StreamingResponse:
        return StreamingResponse(told(second, False), media_type="text/event-stream")

    @api.get("/troubled/admin/v1/live")
    async def troubled() -> StreamingResponse:
        return StreamingResponse(told(second, True), media_type="text/event-stream")

    @api.get("/ending/admin/v1/live")
    async def ending() -> StreamingResponse:
        whole = itertools.islice(events(random.Random(SEED), False), len(KINDS))
        return StreamingResponse(whole, media_type="text/event-stream")

    @api.get("/admin/v1/receipts")
    async def receipts() -> dict[str, Any]:
        return {"receipts": [], "older": None}

    return api


async def told(second: float, troubled: bool) -> AsyncIterator[bytes]:
    for number, one in enumerate(events(random.Random(SEED), troubled)):
        if number >= len(KINDS):
            await asyncio.sleep(second)
        yield one
