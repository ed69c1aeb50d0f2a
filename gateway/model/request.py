"""A request as routing sees it, and what is decided for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from gateway.model.media import MediaAsk
from gateway.model.money import Mark
from gateway.model.policy import Policy, Tenant
from gateway.model.rule import Rule
from gateway.model.trace import Trace
from gateway.model.upstream import Served, Upstream
from gateway.model.words import LOAD_WEIGHT, NO_DEMAND, Demand, EndpointName, Outcome, Priority, Reason


class Obstacle(NamedTuple):
    """Why a request cannot be said in the words of another API: the field at fault, and a sentence for its caller."""

    param: str | None
    why: str


class Reworded(Protocol):
    """A request in the words of its endpoint's twin (`routing/capability.py`), worked out when first asked for."""

    @property
    def tools(self) -> bool:
        """Whether it offers any."""
        ...

    def obstacle(self) -> Obstacle | None:
        """None: all of it can be said."""
        ...

    def fields(self) -> Mapping[str, Any]:
        """Its body there."""
        ...


@dataclass(frozen=True, slots=True)
class GenRequest:
    """One generation as routing sees it. `body` is the client's raw bytes and stays out of every log and repr."""

    id: str
    endpoint: EndpointName
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
    residency: Demand = NO_DEMAND
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
    trace: Trace | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that the policy's rules look at, names in lower case."""
    session: str | None = None
    """`X-Gateway-Session`."""
    pipeline: str | None = None
    """`X-Gateway-Pipeline`: the work of several requests that this one is part of."""
    prefix: int | None = None
    """The key by which the prompt's beginning has an owner; None where no rule asks, or it is too short."""
    beginnings: tuple[int, ...] = ()
    """Hashes of its growing beginnings, where a rule asks for `prefix`."""
    read_by: tuple[str, ...] = ()
    """Upstreams that lately read the longest of them that this replica knows, newest first."""
    demanded_by: tuple[str, ...] = ()
    """Where the caller's own part of `residency` was said: `header`, `metadata`."""
    media: MediaAsk | None = None
    """Of a request for pictures, films or sound: what it asks for."""
    reworded: Reworded | None = field(default=None, repr=False, compare=False)
    """Itself for upstreams that speak the twin of its endpoint alone; None: it has none, or is not to be translated."""
    whole: tuple[int, int | None] | None = None
    """`prompt_bytes` and `max_tokens` of the request of which this is the rest: they say which rule it meets."""


class Estimate(NamedTuple):
    """What one request would ask of any upstream of one backend, and what it would cost there."""

    input_tokens: int
    output_tokens: int
    price: float | None
    """Expected, in USD; None for our own workers."""
    price_most: float | None
    """The most it can cost where that is bounded, else the expected price: what a budget sets aside."""
    work: int = 0
    """Of media: GPU-us on a worker of ours (`routing/units.py`); 0: tokens tell."""


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
    ramp: float = 1.0
    """What share of its whole limit `limit` is, while it warms up."""
    lift: float = 0.0
    """What the rule's picker adds to the score for this pick alone: chance, or a place among the two drawn."""

    @property
    def price(self) -> float | None:
        return self.ask.price

    @property
    def price_most(self) -> float | None:
        return self.ask.price_most

    @property
    def price_marks(self) -> tuple[Mark, ...]:
        """What is to be said of the price that its cost is made of."""
        if self.upstream.kind == "local":
            return self.upstream.hardware.priced.marks
        return () if self.served.price is None else self.served.price.origin.marks


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
    last: Sequence[Candidate] | None = None
    """The same candidates for a request that is cheap to buy and turns out not to be able to leave: up to the whole
    share of its class. None: that is what `candidates` are."""

    def whole(self) -> Group:
        return self if self.last is None else replace(self, candidates=self.last, last=None)


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
    policy: Policy
    """Under which it was taken, with the workers that were found by then."""
    demand: Demand
    primary: tuple[Group, ...]
    overflow: tuple[Group, ...]
    drops: Mapping[str, int]
    max_wait: float
    spill_now: str | None = None
    """Why it leaves before its home is full: the threshold of `spill.when` that holds now, in the user's words, or
    STALE where no worker has a fresh reading and the rule spills then. None: it does not."""
    kept_wait: float = 0.0
    """How long it may wait in all where it cannot leave: a bound of `spill` keeps it, or nobody takes it."""
    worth: float | None = None
    """USD that a GPU-second of such a request would cost to buy; None where it could not leave."""
    cheap: bool = False
    """Whether that is so little that it leaves the last of the room to others."""
    version: str | None = None
    """Which of the model's versions its session belongs to; each candidate's `served` says which one it would get."""
