"""What the agents of hosts without a DCGM exporter told: kept in the store for a few seconds, read by every replica."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import msgspec

from gateway.model import GpuLook, GpuSample, SeenGpu, Upstream, gpus_of
from gateway.store.connection import Store
from gateway.store.scripts import load

HOSTS_KEY, TOLD_KEY = "gw:{agents}:hosts", "gw:{agents}:told"
HOLDS_MS = 5_000
"""Ten heartbeats: an agent that is gone is unknown soon."""
MOST_HOSTS = 4_096
READ_SECONDS = 0.45
"""All hosts are read once per round of probes, not once per worker."""
LAG_SECONDS = 7.0
"""An agent is told of an XID as it happens and beats twice a second; a slow worker is looked at every 5 s."""
_WRITE = load("gateway.fleet", "agent")
_gpus = msgspec.json.Decoder(tuple[GpuSample, ...])

Aged = tuple[float, SeenGpu]
"""A GPU, and when it was told: seconds of this process's monotonic clock."""


class Agents:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_host: dict[str, list[Aged]] = {}
        self._by_uuid: dict[str, Aged] = {}
        self._read_at = float("-inf")

    async def push(self, host: str, gpus: tuple[GpuSample, ...]) -> bool:
        """Keeps a heartbeat; False where there are too many hosts. Raises StoreFault."""
        beat = msgspec.json.encode(gpus)
        return bool(await self._store.eval(_WRITE, [HOSTS_KEY, TOLD_KEY], [host, beat, HOLDS_MS, MOST_HOSTS]))

    async def look(self, upstream: Upstream) -> GpuLook | None:
        """The worker's GPUs by the last heartbeats: by UUID, else by host name and index; agents know of no pods.
        Raises StoreFault."""
        if upstream.hostname is None and not upstream.gpu_uuids:
            return None
        if time.monotonic() - self._read_at > READ_SECONDS:
            await self._read()
        if upstream.gpu_uuids:
            mine = [self._by_uuid[uuid] for uuid in sorted(upstream.gpu_uuids) if uuid in self._by_uuid]
        else:
            mine = [one for one in self._by_host.get(upstream.hostname or "", ()) if gpus_of(upstream, [one[1]])]
        if not mine or upstream.pod is not None:
            return None
        oldest = min(at for at, _ in mine)
        return GpuLook(tuple(one.sample for _, one in mine), max(0.0, time.monotonic() - oldest), LAG_SECONDS)

    async def _read(self) -> None:
        self._read_at = here = time.monotonic()
        clock, raw = await asyncio.gather(self._store.call("TIME"), self._store.call("HGETALL", TOLD_KEY))
        now = int(clock[0]) + int(clock[1]) / 1e6
        by_host: dict[str, list[Aged]] = {}
        for host, beat in zip(map(bytes.decode, raw[::2]), raw[1::2], strict=True):
            with suppress(ValueError, msgspec.MsgspecError):  # what another version wrote is unknown, not fatal
                ms, body = beat.split(b"|", 1)
                age = now - int(ms) / 1000
                if age * 1000 <= HOLDS_MS:
                    by_host[host] = [(here - age, SeenGpu(host, None, gpu)) for gpu in _gpus.decode(body)]
        self._by_host = by_host
        self._by_uuid = {
            one.sample.uuid: (at, one) for told in by_host.values() for at, one in told if one.sample.uuid is not None
        }
