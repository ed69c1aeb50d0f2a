"""ComfyUI: graphs in a queue, history in memory, no Prometheus, every route also under /api."""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import parse_qs

from loadtests.simfleet.costs import count, pixels
from loadtests.simfleet.exchange import Exchange
from loadtests.simfleet.files import png
from loadtests.simfleet.jobs import Job
from loadtests.simfleet.media import Handler, MediaWorker, film
from loadtests.simfleet.refusal import Refusal

from .surface import Reply

GIB = 1 << 30
STATUS = {"completed": "success", "failed": "error", "cancelled": "error"}
"""`status_str` of the history."""


class ComfyUi(MediaWorker):
    metrics_pages = frozenset()
    health_path = "/system_stats"

    def revive(self) -> None:
        super().revive()
        self.uploads: list[bytes] = []

    def routes(self) -> list[tuple[str, str, Handler]]:
        plain: list[tuple[str, str, Handler]] = [
            ("POST", "/prompt", self._queue_prompt),
            ("GET", "/prompt", self._remaining),
            ("GET", "/queue", self._show_queue),
            ("POST", "/queue", self._change_queue),
            ("GET", "/history(?:/([^/]+))?", self._history),
            ("GET", "/view", self._view),
            ("POST", "/upload/image", self._upload),
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
        kind = "video" if any("Video" in str(node.get("class_type")) for node in graph.values()) else "image"
        self.take(id, kind, {**_asked(graph), "number": number, "graph": graph})
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
        named = parse_qs(exchange.query.decode("latin-1")).get("filename", [""])[0]
        job = self.jobs.get(named.rpartition("_")[0])
        if job is None:
            return Reply(status=404)
        if job.kind == "video":
            return Reply(film(job), content_type=b"video/mp4")
        return Reply(png(*pixels(job.asked)), content_type=b"image/png")

    async def _upload(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        """Of the file its bytes are kept, by which the form is read here: `image` is what it holds."""
        if not body.get("image"):
            return Reply(status=400)
        self.uploads.append(str(body["image"]).encode("latin-1"))
        return Reply({"name": f"{len(self.uploads)}.png", "subfolder": "", "type": "input"})

    async def _interrupt(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        """With an id only if that one runs; without, whatever runs."""
        wanted = body.get("prompt_id")
        for job in [job for job in self.queue.running if wanted in (None, job.id)]:
            self.queue.cancel(job)
        return Reply()

    async def _free(self, exchange: Exchange, body: dict[str, Any], match: re.Match[str]) -> Reply:
        return Reply()


def _asked(graph: dict[str, Any]) -> dict[str, Any]:
    """What its nodes say of size, steps and number, as a request would."""
    said: dict[str, Any] = {}
    for node in graph.values():
        said |= node.get("inputs", {}) if isinstance(node, dict) else {}
    made = {"n": said.get("batch_size"), "num_inference_steps": said.get("steps"), "num_frames": said.get("length")}
    if isinstance(said.get("width"), int) and isinstance(said.get("height"), int):
        made["size"] = f"{said['width']}x{said['height']}"
    return {name: value for name, value in made.items() if isinstance(value, int | str)}


def _entry(job: Job) -> list[object]:
    return [job.asked["number"], job.id, job.asked["graph"], {}, []]


def _past(job: Job) -> dict[str, object]:
    filmed, done = job.kind == "video", job.status == "completed"
    names = [f"{job.id}_{i:05}.{'mp4' if filmed else 'png'}" for i in range(1 if filmed else count(job.asked))]
    made = [{"filename": name, "subfolder": "", "type": "output"} for name in names]
    return {
        "prompt": _entry(job),
        "outputs": {"9": {"gifs" if filmed else "images": made}} if done else {},
        "status": {"status_str": STATUS[job.status], "completed": done, "messages": []},
    }
