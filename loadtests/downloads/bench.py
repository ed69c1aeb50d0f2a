"""The bench itself: a gateway, one film, and many who download it, first without reading on, then all at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from loadtests.downloads.worker import BLOCK, Worker, working
from loadtests.stack import Gateway, start_gateway

KEY = "demo"
SAMPLE_SECONDS = 0.02
SETTLE_SECONDS = 0.5
"""Without a change of its memory until nobody reads on any more."""
READ = 64 << 10


@dataclass(frozen=True, slots=True)
class Result:
    """Memory in bytes; seconds of each download, in no order."""

    clients: int
    size: int
    before: int
    held: int
    """While nobody reads on."""
    peak: int
    seconds: list[float]

    @property
    def growth(self) -> int:
        return max(self.held, self.peak) - self.before

    @property
    def fairness(self) -> float:
        """The slowest to the fastest."""
        return max(self.seconds) / min(self.seconds)

    def lines(self) -> list[str]:
        mb = 1 << 20
        return [
            f"{self.clients} downloads of {self.size / mb:.0f} MB at once",
            f"  memory before {self.before / mb:.1f} MB, while nobody reads on {self.held / mb:.1f} MB, "
            f"at most {self.peak / mb:.1f} MB",
            f"  growth {self.growth / mb:.1f} MB, {self.growth / self.clients / 1024:.0f} KB per download",
            f"  seconds: fastest {min(self.seconds):.2f}, median {median(self.seconds):.2f}, "
            f"slowest {max(self.seconds):.2f}; slowest/fastest {self.fairness:.2f}",
            f"  {self.clients * self.size / mb / max(self.seconds):.0f} MB/s in all",
        ]


class Readers:
    """Connections that have asked for the film. Each has its answer's head, and reads on when it is told."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self._host, self._port, self._path = host, port, path
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, clients: int) -> None:
        self._open = list(await asyncio.gather(*(self._ask() for _ in range(clients))))

    async def read(self, size: int) -> list[float]:
        """Seconds that each took for all of it."""
        began = time.monotonic()
        return list(await asyncio.gather(*(self._read(reader, size, began) for reader, _ in self._open)))

    def close(self) -> None:
        for _, writer in self._open:
            writer.transport.abort()

    async def _ask(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=READ)
        writer.write(f"GET {self._path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.split(b"\r\n", 1)[0].decode())
        return reader, writer

    async def _read(self, reader: asyncio.StreamReader, size: int, began: float) -> float:
        left = size
        while left:
            piece = await reader.read(READ)
            if not piece:
                raise RuntimeError(f"the download broke off with {left} bytes left")
            left -= len(piece)
        return time.monotonic() - began


async def measure(folder: Path, clients: int, size: int) -> Result:
    """`size` in bytes, a multiple of BLOCK; `folder` is for policies and files."""
    assert size % len(BLOCK) == 0
    async with working(size) as worker, running(folder, worker) as gateway:
        path = await film(gateway)
        parts = httpx.URL(gateway.url)
        readers = Readers(parts.host, parts.port or 0, path)
        await readers.ask(1)  # what the first one makes is made once
        await readers.read(size)
        readers.close()
        before = rss(gateway.pid)
        try:
            await readers.ask(clients)
            held = await settled(gateway.pid)
            sampling = asyncio.create_task(peak_of(gateway.pid))
            seconds = await readers.read(size)
            sampling.cancel()
            return Result(clients, size, before, held, max(held, await sampling), seconds)
        finally:
            readers.close()


async def film(gateway: Gateway) -> str:
    """The path of a film that is done."""
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=60) as http:
        made = await http.post(
            "/v1/videos?wait=50", json={"model": "film", "prompt": "x"}, headers={"Authorization": f"Bearer {KEY}"}
        )
        if made.json().get("status") != "completed":
            raise RuntimeError(made.text)
        return f"/v1/videos/{made.json()['id']}/content"


@asynccontextmanager
async def running(folder: Path, worker: Worker) -> AsyncIterator[Gateway]:
    write(folder / "policies", worker)
    env = {"GATEWAY_ARTEFACTS_FLOOR": "0", "GATEWAY_LEDGER_URL": "none"}
    gateway = await asyncio.to_thread(
        start_gateway, folder / "policies", folder / "data", env=env, log=folder / "gateway.log"
    )
    try:
        yield gateway
    finally:
        await asyncio.to_thread(gateway.stop)


def write(folder: Path, worker: Worker) -> None:
    upstream = {"name": "film-1", "url": worker.url, "max_num_seqs": 4, "engine": "vllm-omni"}
    backend = {"name": "film", "kind": "local", "zone": "here", "gpu": {"kind": "H100"}, "upstreams": [upstream]}
    served = [{"backend": "film", "as": "film"}]
    files = {
        "backends.yaml": {"zones": {"here": {}}, "backends": [backend]},
        "models.yaml": {"models": [{"name": "film", "modality": "video", "served_by": served}]},
        "routing.yaml": {"rules": [{"name": "all", "route": {"backends": ["film"], "max_wait": "20s"}}]},
        "tenants.yaml": {"tenants": [{"name": "demo", "demo": True}]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def rss(pid: int) -> int:
    """Bytes of a process that are in memory (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("no VmRSS")


async def settled(pid: int) -> int:
    """Its memory once that has not grown for a while."""
    most, since = rss(pid), time.monotonic()
    while time.monotonic() - since < SETTLE_SECONDS:
        await asyncio.sleep(SAMPLE_SECONDS)
        if (now := rss(pid)) > most:
            most, since = now, time.monotonic()
    return most


async def peak_of(pid: int) -> int:
    """Until cancelled."""
    most = 0
    try:
        while True:
            most = max(most, rss(pid))
            await asyncio.sleep(SAMPLE_SECONDS)
    except asyncio.CancelledError:
        return most
