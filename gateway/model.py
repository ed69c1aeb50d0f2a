"""The vocabulary: what the rooms of the gateway say to each other, as frozen, slotted dataclasses.

`Candidate` alone is a NamedTuple: a request makes many of them, and a tuple costs a quarter of a frozen dataclass.

Units: durations in seconds, wall times in seconds since the epoch, money in USD, sizes in bytes,
work in GPU-microseconds
(an integer, so that sums in Lua and in Python are exact), shares and utilisations 0..1. None means unknown, never zero.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from ipaddress import IPv4Network, IPv6Network
from typing import Literal, NamedTuple, Protocol

Kind = Literal["local", "managed"]
Priority = Literal["interactive", "standard", "batch"]
EndpointName = Literal[
    "chat/completions", "completions", "responses", "embeddings", "messages", "messages/count_tokens"
]
"""The generation paths without their `/v1/`."""
Outcome = Literal["local", "spilled", "fallback", "managed"]
Reason = Literal[
    "local_has_room",
    "slo_limit",
    "queue_wait",
    "kv_pressure",
    "outside_load",
    "spill_when",
    "no_healthy_worker",
    "residency",
    "cheaper",
    "budget",
    "stale",
    "capability",
    "rule",
]
OnStale = Literal["hold", "degrade", "spill"]
STALE: Reason = "stale"
PickerName = Literal["best", "weighted_random", "power_of_two"]
SpillOrder = Literal["listed", "cheapest", "fastest"]
Network = IPv4Network | IPv6Network
LOAD_WEIGHT = 1.0
"""Weight of the live free share of a worker (0..1) beside the static score, where a rule does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Where a request's data may go. `local`: our own machines only. `zones`: every one of them must hold the data."""

    local: bool = False
    zones: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.local or bool(self.zones)


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
    residency: Demand = Demand()


@dataclass(frozen=True, slots=True)
class Slo:
    """First token within `ttft`, each later one within `tpot`, all of it within `total` (seconds), for a share `target`
    of the answers."""

    ttft: float | None = None
    tpot: float | None = None
    target: float = 0.99
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """Means over the finished requests of one model: prompt tokens, prompt bytes, output tokens; `seen` counts them.

    Means, not quantiles, because work adds up: a worker's load is a sum over its requests. Splitting the output by the
    size of the prompt was tried and cost more (docs/limit.md).
    """

    prompt: float
    text: float
    output: float
    seen: int = 0

    @property
    def bytes_per_token(self) -> float:
        return self.text / self.prompt


@dataclass(frozen=True, slots=True)
class Threshold:
    """One of the user's own words in `spill.when` or `filters`: `signal` compared with `value`."""

    signal: str
    above: bool
    inclusive: bool
    value: float


@dataclass(frozen=True, slots=True)
class Spill:
    backends: tuple[str, ...]
    budget_usd_per_hour: float | None = None
    when: tuple[Threshold, ...] = ()
    max_share: float | None = None
    """The most of the rule's requests that may leave, over five minutes and all replicas (money.budgets)."""
    order: SpillOrder = "listed"


@dataclass(frozen=True, slots=True)
class Damp:
    """A threshold of `spill.when` holds past `enter` times its value, until it is on the other side of `exit` times its
    value (one with `<`: divided by them); either state lasts at least `dwell` seconds."""

    enter: float = 1.0
    exit: float = 0.9
    dwell: float = 2.0


@dataclass(frozen=True, slots=True)
class PriorityClass:
    """What one class may do under a rule: fill `share` of a worker's limit, wait so long (None: as the rule says),
    leave for bought APIs, and, as long as it waits, be turned away for a higher class."""

    share: float
    max_wait: float | None = None
    spill: bool = True
    shed: bool = True


CLASSES: Mapping[Priority, PriorityClass] = {
    "interactive": PriorityClass(1.0, shed=False),
    "standard": PriorityClass(0.9),
    "batch": PriorityClass(0.7),
}
"""What each class may do where a rule does not say otherwise (shares: decision.md, 6)."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `idle` is the longest silence between two pieces of an answer."""

    connect: float = 2.0
    first_byte: float = 300.0
    idle: float = 60.0
    total: float = 600.0


class Condition(Protocol):
    """A compiled `when`. Equal where the texts are."""

    @property
    def source(self) -> str: ...
    @property
    def reads(self) -> frozenset[str]:
        """What it looks at: `request.prompt_tokens`, `fleet.gpu_util`, ..."""

    @property
    def headers(self) -> frozenset[str]:
        """The request headers that it looks at, in lower case."""

    def __call__(self, facts: Mapping[str, Mapping[str, object]]) -> bool:
        """Whether it holds; what cannot be worked out, because a reading is unknown, does not. Raises nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """Part of the week: `days` (0 is Monday) on which it begins, `begin` and `end` in minutes of the local day. One
    that ends before it begins lasts over midnight."""

    days: frozenset[int]
    begin: int
    end: int
    timezone: tzinfo


TokenBounds = tuple[int | None, int | None]
"""Lowest and highest, both included; None is no bound."""


@dataclass(frozen=True, slots=True)
class Match:
    """All that is set must hold; of the tuples of alternatives one. An empty tuple, and None, match everything."""

    model: tuple[str, ...] = ()
    """Globs."""
    modality: tuple[str, ...] = ()
    endpoint: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    """The tenant has all of them."""
    residency: str | None = None
    """`any`, `none`, `local`, or a zone in which the data must stay."""
    priority: tuple[Priority, ...] = ()
    stream: bool | None = None
    prompt_tokens: TokenBounds | None = None
    output_tokens: TokenBounds | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Name in lower case, and a glob for its value."""
    time: tuple[Window, ...] = ()
    when: Condition | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    match: Match
    backends: tuple[str, ...]
    slo: Slo
    max_wait: float
    spill: Spill | None
    fallback: tuple[str, ...]
    attempts: int
    timeouts: Timeouts
    residency: Demand
    on_fields: Mapping[str, Literal["remove", "pass", "refuse"]]
    learned: bool = True
    """Whether the learned limit of a worker holds for it, or the fixed one."""
    ranked: bool = False
    """Whether its backends are tried in the order of their scores (`objective`), or as listed."""
    scorers: tuple[tuple[str, float], ...] = (("load", LOAD_WEIGHT),)
    """Name of the scorer and its weight above 0."""
    filters: tuple[Threshold, ...] = ()
    picker: PickerName = "best"
    damp: Damp = Damp()
    on_stale: OnStale = "degrade"
    classes: Mapping[Priority, PriorityClass] = field(default_factory=lambda: CLASSES)
    max_cost: float | None = None
    """USD; a request that may cost more is not sent to a bought API."""
    kept_wait: float | None = None
    """How long a request waits for room at home that may not leave: past the bounds of `spill`, or by its class.
    None: `max_wait`."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who pays. `models` is an allow-list of globs; None allows all."""

    name: str
    models: tuple[str, ...] | None = None
    residency: Demand = Demand()
    priority: Priority = "interactive"
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled folder: immutable; `version` is the hash of its content."""

    version: str
    zones: Mapping[str, frozenset[str]]
    backends: Mapping[str, tuple[Upstream, ...]]
    upstreams: Mapping[str, Upstream]
    models: Mapping[str, Model]
    rules: tuple[Rule, ...]
    tenants: Mapping[str, Tenant]
    keys: Mapping[str, str]
    """Keyed hash of a key -> tenant name."""
    simulated: bool
    """True where every managed backend is a simulated one on loopback: only then does the key `demo` work."""
    headers: frozenset[str] = frozenset()
    """The request headers that its rules look at, in lower case: no other is kept for routing."""
    affine: bool = False
    """Whether any rule scores by the beginning of the prompt: else nobody works it out."""


class Allowance(NamedTuple):
    """What one answer of an API told of one rate limit: of `limit` units (`requests`, `tokens`, ...) so many remain.
    In `resets` seconds it is whole again: bit by bit until then (`refills`), or at once."""

    unit: str
    limit: float
    remaining: float
    resets: float
    refills: bool


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one look at a worker gave; None was not published. `gpu_age` is seconds since its GPU page was read,
    `started` the epoch second in which the worker's process began."""

    healthy: bool = True
    running: int | None = None
    waiting: int | None = None
    kv: float | None = None
    kv_tokens: int | None = None
    """Room for so many tokens in its KV cache."""
    gpu: float | None = None
    gpu_age: float | None = None
    started: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One scrape of a worker. `at` is when it was taken (the store's clock); None fields were not published."""

    at: float
    healthy: bool
    life: int = 0
    running: int | None = None
    waiting: int | None = None
    kv: float | None = None
    kv_tokens: int | None = None
    gpu: float | None = None
    gpu_at: float | None = None
    reason: str | None = None
    started: float | None = None


PoolKey = tuple[str, str]
"""(backend, model): what a learned limit is about."""


RATE_LIMITED, ASKED_TO_WAIT = "rate_limited", "asked_to_wait"
"""`UpstreamState.out` of an API account that has nothing left of its rate limit, or whose refusal told us when to come
again: not down, but busy."""


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What one replica knows of an upstream at one instant. `outside` is load that is not ours, as work."""

    upstream: Upstream
    leased: int = 0
    inflight: int = 0
    life: int = 0
    reading: Reading | None = None
    outside: int = 0
    limit: int | None = None
    """The learned limit (GPU-us) for the model at hand, or the requests that an API account takes now; None: the
    upstream's own fixed limit holds."""
    out: str | None = None
    """Why it takes no traffic, or None."""
    back: float | None = None
    """When it is likely to take traffic again (seconds of the snapshot's clock), where that is known."""
    headroom: float | None = None
    """What an API account has left of its rate limit, 0 to 1, as its last answers said; None: it does not tell."""
    errors: float | None = None
    """Share of its attempts that failed lately, as this replica saw; None: it had none."""
    warm: frozenset[str] = frozenset()
    """Models that it answered for lately, as this replica saw."""


class Damped(NamedTuple):
    """Whether a damped threshold holds, and since when (seconds of the snapshot's clock)."""

    on: bool
    since: float


DampedKey = tuple[str, str, str]
"""(rule, model, signal)."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All upstream states at one instant; never changed, only replaced."""

    at: float
    states: Mapping[str, UpstreamState]
    degraded: bool = False
    replicas: int = 1
    scales: Mapping[PoolKey, float] = field(default_factory=dict)
    """The learned part of each limit; 1 where a pool has none yet."""
    rules: Mapping[PoolKey, tuple[str, ...]] = field(default_factory=dict)
    """Names of the rules under which requests came to the pool in the last minutes, from all replicas."""
    learned: Mapping[str, Learned] = field(default_factory=dict)
    """Model -> what its finished requests taught; a model without an entry has the prior."""
    lines: Mapping[str, float] = field(default_factory=dict)
    """Backend -> seconds that those who wait for it in this replica will take; absent where nobody waits."""
    damped: Mapping[DampedKey, Damped] = field(default_factory=dict)
    """Thresholds of `spill.when`, each in its state; one without an entry has no history and is not damped."""


@dataclass(frozen=True, slots=True)
class GenRequest:
    """One generation as routing sees it. `body` is the client's raw bytes and stays out of every log and repr."""

    id: str
    endpoint: str
    model: str
    tenant: Tenant
    body: bytes = field(repr=False)
    prompt_bytes: int = 0
    max_tokens: int | None = None
    """The caller's cap on each output; 0 where the endpoint writes none."""
    n: int = 1
    """How many outputs the model writes for it: choices times prompts."""
    stream: bool = False
    include_usage: bool = False
    residency: Demand = Demand()
    priority: Priority = "standard"
    arrived: float = 0.0
    ready: float = 0.0
    """When the body was whole; both are monotonic seconds."""
    text_only: bool = True
    """False where the prompt holds pictures or sounds: their tokens cannot be bounded by their bytes."""
    deadline: float | None = None
    max_wait: float | None = None
    max_cost: float | None = None
    fields: tuple[str, ...] = ()
    """The known price-, scheduling- and retention-changing fields that this body carries."""
    client_id: str | None = None
    traceparent: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that the policy's rules look at, names in lower case."""
    session: str | None = None
    """`X-Gateway-Session`."""
    prefix: int | None = None
    """A hash of the prompt's first blocks; None where no rule asks for it."""
    demanded_by: tuple[str, ...] = ()
    """Where the caller's own part of `residency` was said: `header`, `metadata`."""


class Estimate(NamedTuple):
    """What one request would ask of any upstream of one backend, and what it would cost there."""

    input_tokens: int
    output_tokens: int
    price: float | None
    """Expected, in USD; None for our own workers."""
    price_most: float | None
    """The most it can cost where that is bounded, else the expected price: what a budget sets aside."""


NOTHING_ASKED = Estimate(0, 0, None, None)


class Candidate(NamedTuple):
    """An upstream that may serve the request, ready for the atomic pick. `work`, `limit`, `outside` are GPU-us."""

    upstream: Upstream
    served: Served
    score: float
    work: int
    limit: int
    seats: int
    outside: int
    life: int
    ask: Estimate = NOTHING_ASKED
    lift: float = 0.0
    """What the rule's picker adds to the score for this pick alone: chance, or a place among the two drawn."""

    @property
    def price(self) -> float | None:
        return self.ask.price

    @property
    def price_most(self) -> float | None:
        return self.ask.price_most


@dataclass(frozen=True, slots=True)
class Group:
    """Candidates of one backend, the unit of one atomic pick; `outcome` and `reason` hold if the pick lands here."""

    backend: str
    outcome: Outcome
    reason: Reason
    candidates: Sequence[Candidate]
    """`decide` works them out when somebody first looks: most requests never see their overflow. None at all where the
    rule's filters leave out the whole backend at this moment: it counts as full."""
    load_weight: float = LOAD_WEIGHT
    """Weight of the live free share of a worker beside the static score; the rule's scorer `load`."""


@dataclass(frozen=True, slots=True)
class Permit:
    """Which upstreams this request's data may reach, under which policy version. Carried through every retry."""

    request: str
    policy: str
    upstreams: frozenset[str]


@dataclass(frozen=True, slots=True)
class Decision:
    """Step 5's result. `primary` is tried first, in order; `overflow` when it is full or `spill_now` says so.

    `drops` counts, by the first reason that holds, the upstreams that may not serve this request: those of the backends
    at home, and of the backends it would overflow to, whether or not anybody looks at `overflow`. Who was merely not
    sampled is not counted.
    """

    rule: Rule
    permit: Permit
    demand: Demand
    primary: tuple[Group, ...]
    overflow: tuple[Group, ...]
    drops: Mapping[str, int]
    max_wait: float
    spill_now: str | None = None
    """Why it leaves before its home is full: the threshold of `spill.when` that holds now, in the user's words, or
    STALE where no worker has a fresh reading and the rule spills then. None: it does not."""
    kept_wait: float = 0.0
    """How long it may wait in all where the bounds of `spill` keep it at home."""
    worth: float | None = None
    """USD that a GPU-second of such a request would cost to buy; None where it could not leave."""
    cheap: bool = False
    """Whether that is so little that it leaves the last of the room to others."""


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    estimated: bool = False


Bound = Literal["share", "budget", "store"]
"""What keeps a request from leaving: `spill.max_share`, `spill.budget_usd_per_hour`, or that the store, which has the
books of both, is away."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right of one request to leave: its part of a rule's share (`counted`) and money from its hourly budget, both
    booked in `minute` (minutes since the epoch)."""

    rule: str
    micro_usd: int
    minute: int
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use part of one upstream now. `slot` names the upstream's incarnation."""

    id: str
    candidate: Candidate
    group: Group
    slot: str
    full: float = 0.0
    """How full its upstream was with it on board, as a share of the candidate's limit."""
    reservation: Reservation | None = None
