"""A stand-in for the Kubernetes API on a port of loopback: lists and watches over HTTP/1.1, framed as by the real one.

A test changes `objects` through `put` and `remove`; open watches hear of it. `compact` forgets the past, so that who
asks to go on from there is told 410; `drop` cuts the open watches; `refuse` answers everything with that status.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
GONE = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "Expired",
    "code": 410,
    "message": "too old",
}


class ApiServer:
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        """(plural, name) -> object."""
        self.version = 1
        self.oldest = 0
        """Versions before this one are gone."""
        self.history: list[tuple[int, str, str, Object]] = []
        self.refuse = 0
        self.in_stream_gone = True
        """Whether 410 comes as an event of a watch that was accepted, or as the status of its answer."""
        self.lists: list[str] = []
        """Paths with queries that were listed, and those that were watched."""
        self.watches: list[str] = []
        self.port = 0
        self._moved = asyncio.Condition()
        self._writers: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}

    async def put(self, plural: str, made: Object) -> None:
        self.version += 1
        made = {**made, "metadata": {**made["metadata"], "resourceVersion": str(self.version)}}
        key = (plural, made["metadata"]["name"])
        await self._tell("MODIFIED" if key in self.objects else "ADDED", plural, made)
        self.objects[key] = made

    async def remove(self, plural: str, name: str) -> None:
        self.version += 1
        await self._tell("DELETED", plural, self.objects.pop((plural, name)))

    async def _tell(self, what: str, plural: str, made: Object) -> None:
        self.history.append((self.version, what, plural, made))
        async with self._moved:
            self._moved.notify_all()

    def compact(self) -> None:
        self.history.clear()
        self.version += 1
        self.oldest = self.version

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def end(self) -> None:
        tasks = [task for task in self._writers.values() if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def kubeconfig(self, folder: Path) -> Path:
        path = folder / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                    "users": [{"name": "test", "user": {"token": "a-service-account"}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                }
            )
        )
        return path

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers[writer] = asyncio.current_task()
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                assert b"Bearer a-service-account" in head
                await self._answer(target, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._writers[writer]
            writer.close()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        plural = parts.path.rpartition("/")[2]
        if self.refuse:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.refuse, "message": "no"}
            await _send(writer, self.refuse, status)
        elif query.get("watch") == "true":
            self.watches.append(target)
            await self._watch(plural, query, writer)
        else:
            self.lists.append(target)
            items = [one for (kind, _), one in self.objects.items() if kind == plural and _fits(one, query)]
            await _send(writer, 200, {"metadata": {"resourceVersion": str(self.version)}, "items": items})

    async def _watch(self, plural: str, query: Mapping[str, str], writer: asyncio.StreamWriter) -> None:
        after = int(query["resourceVersion"])
        if after < self.oldest and not self.in_stream_gone:
            await _send(writer, 410, GONE)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        if after < self.oldest:
            await _event(writer, {"type": "ERROR", "object": GONE})
            writer.write(b"0\r\n\r\n")
            return
        while True:
            for version, what, kind, made in list(self.history):
                if version > after and kind == plural and _fits(made, query):
                    await _event(writer, {"type": what, "object": made})
                    after = version
            async with self._moved:
                await self._moved.wait()


def _fits(made: Object, query: Mapping[str, str]) -> bool:
    labels = made["metadata"].get("labels", {})
    wanted = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
    field = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return all(labels.get(key) == value for key, value in wanted) and field in ("", made["metadata"]["name"])


async def _send(writer: asyncio.StreamWriter, status: int, body: Object) -> None:
    raw = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    writer.write(head.encode() + raw)
    await writer.drain()


async def _event(writer: asyncio.StreamWriter, event: Object) -> None:
    """In two chunks, cut in the middle: a line is not a chunk."""
    raw = json.dumps(event).encode() + b"\n"
    for piece in (raw[: len(raw) // 2], raw[len(raw) // 2 :]):
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    await writer.drain()


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    made = ApiServer()
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.end()
