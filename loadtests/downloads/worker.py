"""A video worker that has its film at once: as much of vLLM-Omni's surface as one job needs, and a film of any size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

BLOCK = bytes(range(256)) * 256
"""64 KiB."""
_PAGE = b"vllm_omni:num_requests_running 0\nvllm_omni:num_requests_waiting 0\n"


class Worker:
    """`size`: bytes of the film, a multiple of BLOCK."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split(" ", 2)
                length = [line[15:] for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                await reader.readexactly(int(length[0]) if length else 0)
                await self._answer(method, path, writer)
        writer.close()

    async def _answer(self, method: str, path: str, writer: asyncio.StreamWriter) -> None:
        if path.endswith("/content"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: video/mp4\r\ncontent-length: %d\r\n\r\n" % self._size)
            for _ in range(self._size // len(BLOCK)):
                writer.write(BLOCK)
                await writer.drain()
            return
        kind, body = "text/plain", _PAGE
        if "/videos" in path:
            status = "queued" if method == "POST" else "completed"
            kind, body = "application/json", json.dumps({"id": "video-1", "status": status}).encode()
        elif path.endswith("/models"):
            kind, body = "application/json", json.dumps({"data": [{"id": "film"}]}).encode()
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()


@asynccontextmanager
async def working(size: int) -> AsyncIterator[Worker]:
    worker = Worker(size)
    server = await asyncio.start_server(worker.serve, "127.0.0.1", 0)
    worker.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield worker
    finally:
        server.close()
