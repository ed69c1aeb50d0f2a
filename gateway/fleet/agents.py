"""What the agents of hosts without a DCGM exporter told: kept in the store for a few seconds, one key for each host or
GPU that a worker of the policy names, read by the replica that looks at the worker.

An agent speaks for its host alone, and for GPUs of workers that are said to be on no host. What no worker has is not
kept: whoever has the agents' token fills neither the store nor the replicas with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from gateway.model import GpuLook, GpuSample, Policy, SeenGpu, Upstream, gpus_of
from gateway.store.connection import Store

HOLDS_MS = 5_000
"""Ten heartbeats: an agent that is gone is unknown soon."""
READ_SECONDS = 0.45
"""A host is read once per round of probes, not once per worker."""
LAG_SECONDS = 7.0
"""An agent is told of an XID as it happens and beats twice a second; a slow worker is looked at every 5 s."""
STRANGERS_KEY = "gw:{agents}:strangers"
MOST_STRANGERS = 64
STRANGER_SECONDS = 60
MOST_LINES = 256
"""Of the log, about hosts that no worker has; then it has said enough."""
_gpus = msgspec.json.Decoder(tuple[GpuSample, ...])
_log = logging.getLogger("gateway")


def host_key(host: str) -> str:
    return f"gw:{{agents}}:host:{host}"


def gpu_key(uuid: str) -> str:
    return f"gw:{{agents}}:gpu:{uuid}"


class Claims:
    """Of whom agents may speak under a policy: workers with a `hostname`, and GPUs of workers without one."""

    def __init__(self, policy: Policy) -> None:
        self.hosts: dict[str, list[Upstream]] = {}
        self.uuids: set[str] = set()
        for upstream in policy.upstreams.values():
            if not _agented(upstream):
                continue
            if upstream.hostname is not None:
                self.hosts.setdefault(upstream.hostname, []).append(upstream)
            else:
                self.uuids |= upstream.gpu_uuids

    def sort(self, host: str, gpus: tuple[GpuSample, ...], *, own: bool) -> dict[str, tuple[GpuSample, ...]]:
        """Key -> the GPUs of a heartbeat that belong there; `own`: of its host alone. Empty: no worker has any."""
        told: dict[str, tuple[GpuSample, ...]] = {}
        if host in self.hosts:
            seen = [SeenGpu(host, None, gpu) for gpu in gpus]
            mine = {gpu.name: gpu for upstream in self.hosts[host] for gpu in gpus_of(upstream, seen)}
            told[host_key(host)] = tuple(mine.values())
        if not own:
            told |= {gpu_key(gpu.uuid): (gpu,) for gpu in gpus if gpu.uuid is not None and gpu.uuid in self.uuids}
        return told


@dataclass(slots=True)
class _Beat:
    """`at` is when it was told; seconds of this process's monotonic clock."""

    read_at: float
    at: float = 0.0
    gpus: tuple[GpuSample, ...] = ()


class Agents:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._beats: dict[str, _Beat] = {}
        self._claims: tuple[Policy, Claims] | None = None
        self._lines: set[str] = set()

    def keep(self, policy: Policy) -> None:
        """Forgets what was read of hosts and GPUs that `policy`, now in force, does not name."""
        claims = self._under(policy)
        named = {*map(host_key, claims.hosts), *map(gpu_key, claims.uuids)}
        self._beats = {key: beat for key, beat in self._beats.items() if key in named}

    async def push(self, policy: Policy, host: str, gpus: tuple[GpuSample, ...], *, own: bool = False) -> int | None:
        """Keeps of a heartbeat what workers of `policy` have, and tells how many GPUs that are; None where it has
        neither the host nor any of them. `own`: whoever tells it may speak for workers of this host alone. Raises
        StoreFault."""
        told = self._under(policy).sort(host, gpus, own=own)
        if not told:
            await self._note(host)
            return None
        calls = (self._store.call("SET", key, msgspec.json.encode(gpu), "PX", HOLDS_MS) for key, gpu in told.items())
        await asyncio.gather(*calls)
        return len({gpu.name for kept in told.values() for gpu in kept})

    async def strangers(self) -> dict[str, float]:
        """Hosts that were heard of lately and that no worker has -> seconds since. Raises StoreFault."""
        rows = await self._store.call("ZRANGE", STRANGERS_KEY, 0, -1, "WITHSCORES")
        since = [(host.decode(), time.time() - float(at)) for host, at in zip(rows[::2], rows[1::2], strict=True)]
        return {host: round(max(0.0, age), 3) for host, age in since if age <= STRANGER_SECONDS}

    async def look(self, upstream: Upstream) -> GpuLook | None:
        """The worker's GPUs by the last heartbeats: by UUID, else by host name and index; agents know of no pods.
        Raises StoreFault."""
        if not _agented(upstream):
            return None
        if upstream.hostname is not None:
            keys = [host_key(upstream.hostname)]
        else:
            keys = [gpu_key(uuid) for uuid in sorted(upstream.gpu_uuids)]
        await self._read(keys)
        now = time.monotonic()
        beats = [beat for beat in map(self._beats.get, keys) if beat is not None and (now - beat.at) * 1000 <= HOLDS_MS]
        seen = [(beat.at, SeenGpu(upstream.hostname, None, gpu)) for beat in beats for gpu in beat.gpus]
        mine = [(at, one.sample) for at, one in seen if gpus_of(upstream, [one])]
        if not mine:
            return None
        return GpuLook(tuple(gpu for _, gpu in mine), max(0.0, now - min(at for at, _ in mine)), LAG_SECONDS)

    def _under(self, policy: Policy) -> Claims:
        if self._claims is None or self._claims[0] is not policy:
            self._claims = policy, Claims(policy)
        return self._claims[1]

    async def _read(self, keys: list[str]) -> None:
        here = time.monotonic()
        due = [key for key in keys if key not in self._beats or here - self._beats[key].read_at > READ_SECONDS]
        for key in due:
            self._beats.setdefault(key, _Beat(here)).read_at = here
        calls = [self._store.call(command, key) for key in due for command in ("GET", "PTTL")]
        told = await asyncio.gather(*calls)
        for key, raw, left in zip(due, told[::2], told[1::2], strict=True):
            with suppress(msgspec.MsgspecError):  # what another version wrote is unknown, not fatal
                if raw is not None and left > 0:
                    at = here - max(0, HOLDS_MS - left) / 1000
                    self._beats[key] = _Beat(here, at, _gpus.decode(raw))

    async def _note(self, host: str) -> None:
        if host not in self._lines and len(self._lines) < MOST_LINES:
            self._lines.add(host)
            _log.warning("agent of no worker", extra={"fields": {"host": host}})
        now = time.time()
        await asyncio.gather(
            self._store.call("ZADD", STRANGERS_KEY, f"{now:.3f}", host),
            self._store.call("ZREMRANGEBYSCORE", STRANGERS_KEY, "-inf", f"{now - STRANGER_SECONDS:.3f}"),
            self._store.call("ZREMRANGEBYRANK", STRANGERS_KEY, 0, -MOST_STRANGERS - 1),
            self._store.call("EXPIRE", STRANGERS_KEY, STRANGER_SECONDS),
        )


def _agented(upstream: Upstream) -> bool:
    """Whether it is an agent that tells of the worker's GPUs: no page is named, nor a pod alone."""
    if upstream.dcgm is not None:
        return False
    return bool(upstream.gpu_uuids) or (upstream.hostname is not None and upstream.pod is None)
