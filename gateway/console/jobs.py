"""`/admin/v1/jobs` for operators: what is not over, and what may have been bought without anybody knowing. Never what
was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter, Query

from gateway.console.store_words import in_our_words
from gateway.jobs.record import UNKNOWN_OUTCOME, Job
from gateway.jobs.shelf import PAGE, Shelf

SHARED = "the replicas share jobs"
State = Literal["unfinished", "unknown_outcome"]


def job_admin_routes(shelf: Shelf) -> APIRouter:
    """To be included where access has been checked."""
    api = APIRouter()

    @api.get("/jobs")
    async def every_job(state: State = "unfinished", limit: int = Query(PAGE, ge=1, le=10 * PAGE)) -> Mapping[str, Any]:
        """Of all tenants: `unfinished`, by their deadlines; `unknown_outcome`, the newest first."""
        with in_our_words(SHARED):
            jobs = await (shelf.unknown(limit) if state == UNKNOWN_OUTCOME else shelf.unfinished(limit))
        return {"jobs": [row(job) for job in jobs]}

    return api


def row(job: Job) -> Mapping[str, Any]:
    tries = [
        {"attempt": one.attempt, "upstream": one.upstream, "at": one.at, "ticket": one.ticket, "result": one.result}
        for one in job.tries
    ]
    return {
        "id": job.id,
        "state": job.state,
        "tenant": job.tenant,
        "key": job.key,
        "model": job.model,
        "endpoint": job.endpoint,
        "request": job.request,
        "percent": job.percent,
        "created": job.created,
        "deadline": job.deadline,
        "ended": job.ended,
        "error": None if job.error is None else {"code": job.error[0], "message": job.error[1]},
        "tries": tries,
    }
