"""Workers of backends.yaml as pydantic models: one that is written down, one that is found, and their GPUs."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from gateway.policy.strict import Strict
from gateway.policy.words import (
    HOST,
    SRV_NAME,
    Count,
    Duration,
    Glob,
    GpuUuid,
    Listed,
    Name,
    Namespaced,
    NotNegative,
    Port,
    Positive,
    Share,
)

_IPV4 = r"[0-9.]+"
"""A name whose last part is a number is none (RFC 1123, 2.1): whoever writes it means an address."""
EngineName = Literal[
    "auto",
    "vllm",
    "sglang",
    "trtllm",
    "triton",
    "tgi",
    "llamacpp",
    "nim",
    "vllm-omni",
    "sglang-diffusion",
    "comfyui",
    "openai",
]
ENGINES: tuple[str, ...] = get_args(EngineName)


class Gpu(Strict):
    """GPUs of a worker, all alike."""

    kind: Name
    """Such as H100: picks the prior of how fast a worker is, and how much memory one has."""
    memory_gb: Positive | None = None
    """Of one GPU, in 10^9 bytes; default: by kind (H100 80, H200 141)."""
    usd_per_hour: NotNegative | None = None
    """What one GPU costs; default: as the price book says (H100, H200), else unknown."""
    overhead: Annotated[float, Field(ge=1, le=100)] = 1.0
    """What it costs beside that, as a factor: engineering, updates. Idle time is measured (docs/reports.md)."""


class BreakerIn(Strict):
    """When an upstream is left alone for a while. The caller's own 4xx never counts."""

    consecutive: Annotated[int, Field(ge=1, le=1000)] = 3
    """Failures in a row."""
    error_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the attempts within `window` that failed."""
    least: Annotated[int, Field(ge=2, le=100_000)] = 10
    """Attempts within `window` before their share says anything."""
    window: Duration = 30.0
    """How far back `error_rate` looks."""
    slow: Annotated[float, Field(gt=1, le=1000)] | None = None
    """Times as slow to its first byte as the median of its backend; default: slowness alone opens nothing."""
    pause: Duration = 1.0
    """How long at first; it doubles with each failure after it."""
    longest: Duration = 30.0
    """How long at most."""
    ejected: Share = 0.5
    """Share of a backend that may be left alone at once, but for those that cannot be reached."""

    @model_validator(mode="after")
    def in_order(self) -> Self:
        if not 0 < self.pause <= self.longest:
            said = f"`pause` {self.pause:g} s must be above 0 and no longer than `longest` {self.longest:g} s"
            raise ValueError(said)
        if self.window <= 0:
            raise ValueError("`window` must be longer than 0")
        return self


class UpstreamIn(Strict):
    name: Name
    """Stands once in the whole folder; receipts, metrics and headers tell it."""
    url: str
    """http:// or https://; of a worker without /v1, of a bought API as its provider gives it, /v1 included."""
    key: str | None = None
    """${env:NAME} or ${file:PATH}."""


GpuIndex = Annotated[tuple[Annotated[int, Field(ge=0, le=1023)], ...], Field(min_length=1)]


class WorkerIn(Strict):
    """What all workers that are found are like."""

    engine: EngineName = "auto"
    """What it runs; `auto`: found out by asking it. `openai`: speaks the API and publishes nothing."""
    gpus: Count | None = None
    """How many GPUs it runs on; default: as many as `gpu_index` or `gpu_uuid` names, else 1."""
    gpu: Gpu | None = None
    """Its GPUs, where they are not the backend's."""
    max_num_seqs: Count = 256
    """The engine's own bound on sequences in one batch."""
    limit_work_s: Positive | None = None
    """Leased work in GPU-seconds that it may hold; replaces the prior. A learned limit starts from it."""
    models: Listed[Glob] = ()
    """Globs of public names that it is kept for; default: all that its backend serves."""
    gpu_index: GpuIndex | None = None
    """The `gpu` labels of this worker's GPUs on its DCGM page; default: all GPUs of the page."""


class PatternIn(WorkerIn):
    """What every worker is that `discover` finds."""

    dcgm: str | None = None
    """Address of its node's DCGM exporter page; for {host} the worker's own IP address is put."""
    key: str | None = None
    """${env:NAME} or ${file:PATH}; sent to each of them."""


class LocalUpstream(UpstreamIn, WorkerIn):
    """One worker."""

    gpu_uuid: Listed[GpuUuid] = ()
    """The same by UUID."""
    pod: Namespaced | None = None
    """Its pod, as its DCGM page labels it."""
    hostname: Annotated[str, Field(pattern=HOST)] | None = None
    """The `Hostname` label on its DCGM page, where one page shows several hosts; what its `gateway agent` calls it."""
    dcgm: str | None = None
    """Address of the node's DCGM exporter page."""
    metrics: str | None = None
    """Address of its metrics page, where it is not where its engine has it."""


class DiscoverIn(Strict):
    """One place where workers are found. Exactly one of `dns`, `srv`, `service`, `pool`, `registration`."""

    dns: Annotated[str, Field(pattern=HOST)] | None = None
    """A name with an address for each worker, asked again every second. Needs `port`."""
    srv: Annotated[str, Field(pattern=SRV_NAME)] | None = None
    """A name with an SRV record for each worker: its host and port."""
    service: Namespaced | None = None
    """A Kubernetes Service, namespace/name: its EndpointSlices are watched."""
    pool: Namespaced | None = None
    """An InferencePool (Gateway API Inference Extension v1), namespace/name: the pods that it selects are watched."""
    registration: Literal[True] | None = None
    """Workers that register themselves at POST /admin/v1/workers."""
    port: Port | Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$")] | None = None
    """Of a `service` also the name of its port; default there: its only one."""
    scheme: Literal["http", "https"] = "http"
    """How they are spoken to."""

    @model_validator(mode="after")
    def one_place(self) -> Self:
        places = ("dns", "srv", "service", "pool", "registration")
        given = [name for name in places if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must set exactly one of {', '.join(f'`{name}`' for name in places)}")
        if (name := self.dns or self.srv) is not None and re.fullmatch(_IPV4, name):
            raise ValueError(f"must set `{given[0]}` to a name: write a worker with an IP address under `upstreams`")
        if self.dns is not None and not isinstance(self.port, int):
            raise ValueError("must set `port` to a number: `dns` tells addresses only")
        if self.port is not None and given[0] not in ("dns", "service"):
            raise ValueError(f"`port` has no effect beside `{given[0]}`, which tells the ports itself")
        return self
