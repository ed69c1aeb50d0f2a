"""ComfyUI: graphs in a queue, history in memory, no Prometheus, every route also under /api."""

from __future__ import annotations

import re
import uuid
from typing import Any

from loadtests.simfleet.exchange import Exchange
from loadtests.simfleet.jobs import Job
from loadtests.simfleet.media import PNG, Handler, MediaWorker
from loadtests.simfleet.refusal import Refusal

from .surface import Reply

GIB = 1 << 30
STATUS = {"completed": "success", "failed": "error", "cancelled": "error"}
"""`status_str` of the history."""


class ComfyUi(MediaWorker):
    metrics_pages = frozenset()
    health_path = "/system_stats"

    def routes(self) -> list[tuple[str, str, Handler]]:
        plain: list[tuple[str, str, Handler]] = [
            ("POST", "/prompt", self._queue_prompt),
            ("GET", "/prompt", self._remaining),
            ("GET", "/queue", self._show_queue),
            ("POST", "/queue", self._change_queue),
            ("GET", "/history(?:/([^/]+))?", self._history),
            ("GET", "/view", self._view),
            ("POST", "/interrupt", self._interrupt),
            ("POST", "/free", self._free),
            ("GET", "/system_stats", self._stats),
        ]
        return [(method, f"(?:/api)?{path}", handler) for method, path, handler in plain]

    def metrics(self) -> bytes:
        raise AssertionError("ComfyUI has no metrics page")

    def health(self) -> Reply:
        device = {"name": "cuda:0 NVIDIA H100 80GB HBM3", "type": "cuda", "index": 0, "vram_total": 80 * GIB}
        free = {"vram_free": 40 * GIB, "torch_vram_total": 32 * GIB, "torch_vram_free": GIB}
        return Reply({"system": {"os": "posix", "comfyui_version": "0.3.75"}, "devices": [device | free]})

    def _told(self, refusal: Refusal, path: str) -> object:
        error = {"type": "invalid_prompt", "message": refusal.message, "details": "", "extra_info": {}}
        return {"error": error, "node_errors": {}}

    async def _stats(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return self.health()

    async def _queue_prompt(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        graph = body.get("prompt")
        if not isinstance(graph, dict) or not graph:
            raise self._refuse(400, "No prompt provided")
        id = str(body.get("prompt_id") or uuid.uuid4())
        number = len(self.jobs)
        self.take(id, "image", _images_of(graph), {"number": number, "graph": graph})
        return Reply({"prompt_id": id, "number": number, "node_errors": {}})

    async def _remaining(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        queue = self.queue
        return Reply({"exec_info": {"queue_remaining": len(queue.running) + len(queue.waiting)}})

    async def _show_queue(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        running, pending = map(_entry, self.queue.running), map(_entry, self.queue.waiting)
        return Reply({"queue_running": list(running), "queue_pending": list(pending)})

    async def _change_queue(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        """Only jobs that wait."""
        gone = list(self.queue.waiting) if body.get("clear") else []
        gone += [job for job in self.queue.waiting if job.id in body.get("delete", ())]
        for job in gone:
            self.queue.cancel(job)
            self.jobs.pop(job.id, None)
        return Reply()

    async def _history(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        over = [job for job in self.jobs.values() if job.over.is_set() and match[1] in (None, job.id)]
        return Reply({job.id: _past(job) for job in over})

    async def _view(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return Reply(PNG, content_type=b"image/png") if b"filename=" in exchange.query else Reply(status=404)

    async def _interrupt(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        """With an id only if that one runs; without, whatever runs."""
        wanted = body.get("prompt_id")
        for job in [job for job in self.queue.running if wanted in (None, job.id)]:
            self.queue.cancel(job)
        return Reply()

    async def _free(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return Reply()


def _images_of(graph: dict[str, Any]) -> float:
    """The largest `batch_size` of its nodes."""
    inputs = [node.get("inputs", {}) for node in graph.values() if isinstance(node, dict)]
    return float(max((each["batch_size"] for each in inputs if isinstance(each.get("batch_size"), int)), default=1))


def _entry(job: Job) -> list[object]:
    return [job.asked["number"], job.id, job.asked["graph"], {}, []]


def _past(job: Job) -> dict[str, object]:
    made = [{"filename": f"{job.id}_{i:05}.png", "subfolder": "", "type": "output"} for i in range(round(job.units))]
    done = job.status == "completed"
    return {
        "prompt": _entry(job),
        "outputs": {"9": {"images": made}} if done else {},
        "status": {"status_str": STATUS[job.status], "completed": done, "messages": []},
    }
