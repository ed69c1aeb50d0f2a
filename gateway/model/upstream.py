"""Where requests can be sent, and who serves which model at which price."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from gateway.model.words import NO_DEMAND, Demand, EndpointName, Kind, Network


@dataclass(frozen=True, slots=True)
class Price:
    """List price in USD per million tokens, and per request."""

    input_per_1m: float = 0.0
    output_per_1m: float = 0.0
    per_request: float = 0.0


@dataclass(frozen=True, slots=True)
class Speed:
    """How long a decoding step takes, in milliseconds: `step_ms + per_seq_ms * sequences + per_prompt_token_ms *
    prompt tokens`."""

    step_ms: float
    per_seq_ms: float
    per_prompt_token_ms: float


@dataclass(frozen=True, slots=True)
class Tls:
    """How connections to a backend are secured; equal where the files it was made from hold the same (`digest`)."""

    digest: bytes = field(repr=False)
    context: ssl.SSLContext = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Upstream:
    """One address to send to. `limit` is leased work (GPU-us) and `seats` the requests in flight that it may hold."""

    name: str
    backend: str
    kind: Kind
    url: str
    dialect: str
    zone: str
    networks: tuple[Network, ...]
    speed: Speed
    limit: int
    seats: int
    key: str | None = field(default=None, repr=False)
    engine: str | None = None
    dcgm: str | None = None
    hostname: str | None = None
    gpus: tuple[int, ...] | None = None
    usd_per_hour: float | None = None
    """Of the whole worker: the price of one GPU times its GPUs."""
    private_in: frozenset[str] = frozenset()
    simulated: bool = False
    limit_stated: bool = False
    """True where `limit` was written down as `limit_work_s`: learning then starts from it."""
    endpoints: frozenset[EndpointName] | None = None
    """What it speaks; None: what its engine or dialect is known to speak."""
    tls: Tls | None = field(default=None, repr=False)
    """None: https addresses are verified against the system's authorities, and no certificate is shown."""

    @property
    def scraped(self) -> bool:
        """Whether it has a metrics page that is read: what publishes nothing cannot grow stale."""
        return self.kind == "local" and self.engine == "vllm"


@dataclass(frozen=True, slots=True)
class Served:
    """One way to serve a model: which backend, under which name there, at which list price (managed only)."""

    backend: str
    name: str
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    modality: str
    served_by: tuple[Served, ...]
    residency: Demand = NO_DEMAND
