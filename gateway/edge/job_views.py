"""A job as its callers see it: OpenAI's video, our own whole object, and the events of its way. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from mimetypes import guess_extension
from typing import Any

import msgspec

from gateway.jobs.record import Job, Try
from gateway.model import Artefact, JobState

VIDEOS = "videos"
JOBS_PATH = "/v1/gateway/jobs"
STATUS: Mapping[JobState, str] = {"queued": "queued", "running": "in_progress", "succeeded": "completed"}
"""In OpenAI's words; every other end is `failed` there, and the code of its error says which."""
PROGRESS_STEP = 1000
"""Of an event's number: how far each state lies from the one before it. Percent lie between."""
_RANK: Mapping[JobState, int] = {"queued": 0, "running": 1}
_ENDED_RANK = 2
_SAID = {
    "cancelled": ("cancelled", "it was cancelled"),
    "expired": ("expired", "its time was over before it was done"),
}
_EXTENSIONS = {"video/mp4": ".mp4", "image/webp": ".webp", "audio/mpeg": ".mp3"}
"""Where the table of the standard library has none, or an odd one."""


def video(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "object": "video",
        "model": job.model,
        "status": STATUS.get(job.state, "failed"),
        "progress": job.percent,
        "seconds": None if job.seconds is None else f"{job.seconds:g}",
        "size": job.size,
        "created_at": int(job.created),
        "completed_at": int(job.ended) if job.state == "succeeded" and job.ended is not None else None,
        "expires_at": int(job.expires),
        "error": error(job),
        "remixed_from_video_id": None,
    }


def whole(job: Job, cost: Any = None) -> dict[str, Any]:
    """All that its tenant may know. Times are seconds since the epoch. `cost`: as on its receipt."""
    return {
        "id": job.id,
        "object": "job",
        "state": job.state,
        "status": STATUS.get(job.state, "failed"),
        "percent": job.percent,
        "model": job.model,
        "endpoint": job.endpoint,
        "created_at": job.created,
        "started_at": job.started,
        "ended_at": job.ended,
        "deadline": job.deadline,
        "expires_at": job.expires,
        "cancel_requested": job.cancel,
        "seconds": job.seconds,
        "size": job.size,
        "tries": [attempt(one) for one in job.tries],
        "artefacts": [artefact(job, one) for one in job.artefacts],
        "error": error(job),
        "policy": job.policy,
        "receipt": job.request,
        "cost": cost,
    }


def shown(job: Job) -> dict[str, Any]:
    """As whoever made it expects it."""
    return video(job) if job.endpoint == VIDEOS else whole(job)


def attempt(one: Try) -> dict[str, Any]:
    return {
        "id": one.attempt,
        "upstream": one.upstream,
        "backend": one.backend,
        "managed": one.managed,
        "at": one.at,
        "placed": one.ticket is not None,
        "result": one.result,
    }


def artefact(job: Job, one: Artefact) -> dict[str, Any]:
    return {
        "name": one.name,
        "media_type": one.media_type,
        "bytes": one.size,
        "sha256": one.digest,
        "width": one.width,
        "height": one.height,
        "url": f"{JOBS_PATH}/{job.id}/artefacts/{one.name}",
    }


def cost_of(receipt: bytes) -> Any:
    """What a receipt says of the cost, as it says it."""
    return msgspec.json.decode(receipt).get("cost")


def error(job: Job) -> dict[str, Any] | None:
    said = job.error or _SAID.get(job.state)
    return None if said is None else {"code": said[0], "message": said[1]}


def file_name(job: Job, one: Artefact) -> str:
    """Of ids and words of ours alone."""
    ending = _EXTENSIONS.get(one.media_type) or guess_extension(one.media_type) or ".bin"
    return f"{job.id}-{one.name or 'result'}{ending}"


def event_number(job: Job) -> int:
    """Grows on every way that a job can go, so that whoever read one replica goes on at another."""
    if job.over:
        return _ENDED_RANK * PROGRESS_STEP
    return _RANK[job.state] * PROGRESS_STEP + job.percent


def event(job: Job, before: int | None) -> bytes:
    """A server-sent event. `before`: the number of what its reader heard last; None: nothing."""
    number = event_number(job)
    name = "progress" if before is not None and before // PROGRESS_STEP == number // PROGRESS_STEP else "state"
    body = {"id": job.id, "state": job.state, "percent": job.percent, "error": error(job)}
    if job.over:
        body["artefacts"] = [artefact(job, one) for one in job.artefacts]
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, name.encode(), msgspec.json.encode(body))


def page(rows: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A list in OpenAI's shape."""
    return {
        "object": "list",
        "data": rows,
        "first_id": rows[0]["id"] if rows else None,
        "last_id": rows[-1]["id"] if rows else None,
        "has_more": more,
    }
