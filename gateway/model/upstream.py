"""Where requests can be sent, and who serves which model at which price."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import date

from gateway.model.gpu import NO_NEED, UNKNOWN_GPUS, Gpus, Need
from gateway.model.media import Modality
from gateway.model.money import Price
from gateway.model.offering import Offer
from gateway.model.words import NO_DEMAND, Demand, EndpointName, Kind, Network
from gateway.model.workflow import Workflow


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
    server_name: str | None = field(default=None, repr=False)
    """Verified and asked for instead of the host in the address."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an upstream is left alone for a while: after so many failures in a row, when `error_rate` of at least
    `least` attempts within `window` seconds failed, or when it is `slow` times as slow to its first byte as the median
    of its backend. Never more than the share `ejected` of a backend at once, but for those that cannot be reached."""

    consecutive: int = 3
    error_rate: float = 0.5
    least: int = 10
    window: float = 30.0
    slow: float | None = None
    pause: float = 1.0
    longest: float = 30.0
    ejected: float = 0.5


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
    gpu_uuids: frozenset[str] = frozenset()
    pod: str | None = None
    """`namespace/name` of its pod, as its GPU page labels it."""
    models: tuple[str, ...] = ()
    """Globs of the public names that it is kept for; empty: all that its backend serves."""
    metrics: str | None = None
    """Address of its metrics page; None: where its engine has it."""
    hardware: Gpus = UNKNOWN_GPUS
    slow_start: float = 0.0
    """Seconds in which it gets to its full share after it came or came back."""
    breaker: Breaker = Breaker()
    usd_per_hour: float | None = None
    """Of the whole worker: the price of one GPU times its GPUs times its overhead."""
    private_in: frozenset[str] = frozenset()
    simulated: bool = False
    limit_stated: bool = False
    """True where `limit` was written down as `limit_work_s`: learning then starts from it."""
    endpoints: frozenset[EndpointName] | None = None
    """What it speaks; None: what its engine or dialect is known to speak."""
    tls: Tls | None = field(default=None, repr=False)
    """None: https addresses are verified against the system's authorities, and no certificate is shown."""
    source: str | None = None
    """How it was found (`member.Finding`); None: the policy writes it down."""
    artefact_hosts: tuple[str, ...] = ()
    """Globs of hosts where the results of a bought API may lie, beside those that its dialect knows."""

    @property
    def scraped(self) -> bool:
        """Whether it has a metrics page that is read: what publishes nothing cannot grow stale."""
        return self.kind == "local" and self.engine != "openai"


@dataclass(frozen=True, slots=True)
class Served:
    """One way to serve a model: which backend, under which name there, at which list price (managed only)."""

    backend: str
    name: str
    price: Price | None = None
    version: str | None = None
    """Of several that one backend serves side by side, its name; each of them is a `Served` of its own."""
    weight: float = 1.0
    """What share of the sessions it gets, beside the other versions there."""
    offer: Offer | None = None
    """What it can do, as the folder or the catalogue says; None: nobody knows, so nothing is refused for it."""
    workflow: Workflow | None = field(default=None, repr=False)
    """The graph that its workers are given, where they take no requests."""
    retires: date | None = None
    """From that day on its API does not answer for it, as far as the catalogue knows."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where workers of a backend are found beside those written down. One of `dns`, `srv`, `service`, `pool` is set, or
    `registration` is true."""

    dns: str | None = None
    srv: str | None = None
    service: str | None = None
    """`namespace/name` of a Kubernetes Service, whose EndpointSlices are watched."""
    pool: str | None = None
    """`namespace/name` of an InferencePool (Gateway API Inference Extension v1)."""
    registration: bool = False
    port: int | str | None = None
    """Number; of a `service` also the name of a port."""
    https: bool = False


@dataclass(frozen=True, slots=True)
class Discovery:
    """Of one local backend: where its further workers are found, and what each of them is. `pattern` has an empty name
    and address; all else, zone, price and networks too, is the policy's word alone."""

    sources: tuple[Source, ...]
    pattern: Upstream


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    modality: Modality
    served_by: tuple[Served, ...]
    residency: Demand = NO_DEMAND
    custom: bool = False
    """It exists on our own machines only."""
    need: Need = NO_NEED
    output_cap: int | None = None
    """Where the caller names no cap on the output: this one, which then goes up too, wherever money is set aside."""
    input_cap: int | None = None
    """The most prompt tokens that the model reads: what bounds the price of a prompt that is not text alone."""
