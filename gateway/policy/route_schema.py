"""Where requests go, as pydantic models: a route, a rule, the file of rules."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from gateway.model import OnStale, PickerName, Priority, SpillOrder
from gateway.policy.match_schema import MatchIn
from gateway.policy.strict import Strict
from gateway.policy.words import (
    Comparison,
    Count,
    Duration,
    KnownField,
    Lateness,
    Listed,
    Name,
    Names,
    NotNegative,
    OrWord,
    Positive,
    Share,
    ShareComparison,
    WholeShare,
)

ROOM = frozenset({"headroom"})
WORSE = frozenset(
    {"load", "queue_depth", "gpu_util", "kv_util", "wait_ms", "ttft_ms", "predicted_wait_ms", "error_rate"}
)
"""Signals that grow as an upstream gets worse; those of ROOM shrink."""


def not_reversed(name: str, comparison: str | None, *, take_part: bool) -> str | None:
    """`comparison` as it is. Raises ValueError where it keeps the good and lets the bad pass. `take_part`: who
    satisfies it may take part; else to satisfy it makes requests leave."""
    if comparison is None or name not in WORSE | ROOM:
        return comparison
    if comparison.lstrip().startswith(">") is (take_part is (name in WORSE)):
        grows = "grows" if name in WORSE else "shrinks"
        turned = comparison.translate(str.maketrans("<>", "><")).strip()
        raise ValueError(f'is the wrong way round: `{name}` {grows} as things get worse; write "{turned}"')
    return comparison


class SloIn(Strict):
    """What a good answer is."""

    ttft_ms: Positive | None = None
    """Longest time to the first token."""
    tpot_ms: Positive | None = None
    """Longest mean time per later token."""
    total_ms: Positive | None = None
    """Longest time to the end of the answer."""
    target: Share = 0.99
    """Share of the answers that must meet all of them."""

    @model_validator(mode="after")
    def says_something(self) -> SloIn:
        if self.ttft_ms is None and self.tpot_ms is None and self.total_ms is None:
            raise ValueError("must set at least one of `ttft_ms`, `tpot_ms`, `total_ms`")
        if self.ttft_ms is not None and self.total_ms is not None and self.ttft_ms > self.total_ms:
            said = f"`ttft_ms` {self.ttft_ms:g} is more than `total_ms` {self.total_ms:g}"
            raise ValueError(f"the wrong way round: {said}")
        return self


class ObjectiveIn(Strict):
    """What is best: a weight for each, or `cost` or `latency` alone."""

    cost: NotNegative = 0.0
    """Weight of what a request costs."""
    latency: NotNegative = 0.0
    """Weight of how soon its first token comes."""

    @model_validator(mode="before")
    @classmethod
    def by_name(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in cls.model_fields:
            raise ValueError("must be `cost`, `latency`, or weights such as {cost: 0.7, latency: 0.3}")
        return {value: 1.0}

    @model_validator(mode="after")
    def says_something(self) -> ObjectiveIn:
        if self.cost + self.latency <= 0:
            raise ValueError("must weigh `cost`, `latency` or both above 0")
        return self


Objective = Annotated[ObjectiveIn, OrWord(*ObjectiveIn.model_fields)]


class ThresholdsIn(Strict):
    """Readings compared with numbers; at least one."""

    take_part: ClassVar[bool]
    """Whether who keeps them takes part, or whether what they say makes requests leave."""

    @model_validator(mode="after")
    def says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"must set at least one of {', '.join(f'`{name}`' for name in type(self).model_fields)}")
        return self

    @field_validator("*")
    @classmethod
    def right_way_round(cls, value: str | None, info: ValidationInfo) -> str | None:
        return not_reversed(info.field_name or "", value, take_part=cls.take_part)


class FiltersIn(ThresholdsIn):
    """Who may take part: an upstream that breaks ANY of these is left out. An unknown reading breaks none."""

    take_part: ClassVar[bool] = True

    load: Comparison | None = None
    """Leased work as a share of the limit."""
    queue_depth: Comparison | None = None
    """Requests waiting in the worker's own queue."""
    gpu_util: ShareComparison | None = None
    """0 to 1."""
    kv_util: ShareComparison | None = None
    """0 to 1."""
    wait_ms: Comparison | None = None
    """Predicted wait in the worker's own queue."""
    ttft_ms: Comparison | None = None
    """Predicted time to the first token."""
    headroom: ShareComparison | None = None
    """What an API account has left of its rate limit, 0 to 1."""
    error_rate: ShareComparison | None = None
    """Share of its attempts that failed lately, 0 to 1."""


class ScorersIn(Strict):
    """Weights: each scorer gives 0 to 1, and the largest weighted sum is the best upstream. Those not written are the
    objective's; without an objective `load` alone counts."""

    load: NotNegative | None = None
    """How much of its limit is free, live, as the lease is taken."""
    wait: NotNegative | None = None
    """Predicted wait in the worker's own queue."""
    ttft: NotNegative | None = None
    """Predicted time to the first token."""
    price: NotNegative | None = None
    """Expected marginal price: our own workers cost nothing while there is room."""
    list_price: NotNegative | None = None
    """Expected list price, of our own workers the amortised one."""
    prefix: NotNegative | None = None
    """The worker that has served prompts beginning alike, found by hashing, so that all replicas agree."""
    session: NotNegative | None = None
    """The worker of the same session: `X-Gateway-Session`, else the prompt's beginning."""
    warm: NotNegative | None = None
    """Workers that served the model lately."""
    zone: NotNegative | None = None
    """Nearness to the gateway's own zone."""
    headroom: NotNegative | None = None
    """What an API account has left of its rate limit."""
    errors: NotNegative | None = None
    """How few of its attempts failed lately."""


class When(ThresholdsIn):
    """Thresholds on means over the healthy workers of the route's local backends with a fresh reading.

    A signal that no worker publishes is unknown and never counts.
    """

    take_part: ClassVar[bool] = False

    queue_depth: Comparison | None = None
    """Requests waiting in a worker's own queue."""
    gpu_util: ShareComparison | None = None
    """0 to 1."""
    kv_util: ShareComparison | None = None
    """0 to 1."""
    predicted_wait_ms: Comparison | None = None
    """Predicted wait of a new request for room at home."""
    price_usd: Comparison | None = None
    """Expected price of this request at the cheapest backend that it could spill to."""


class DampIn(Strict):
    """Keeps the thresholds of `spill.when` from flapping. Only readings are damped: room under the limit is exact."""

    enter: Positive = 1.0
    """Spill begins past this multiple of the threshold."""
    exit: Positive = 0.9
    """And ends on the other side of this multiple."""
    dwell: Duration = 2.0
    """Either state lasts at least this long."""

    @model_validator(mode="after")
    def in_order(self) -> DampIn:
        if self.exit > self.enter:
            raise ValueError(f"the wrong way round: `exit` {self.exit:g} is more than `enter` {self.enter:g}")
        return self


class SpillIn(Strict):
    """Managed backends that take what the local ones have no room for."""

    backends: Names
    """Backends of `kind: managed`."""
    order: SpillOrder = "listed"
    """Which of them is tried first: as listed, the cheapest for this request, or the one with the fastest answers."""
    max_share: WholeShare | None = None
    """The most of this route's requests, over five minutes and all replicas, that may leave; fallback counts. Fewer
    than ten requests count as ten."""
    budget_usd_per_hour: NotNegative | None = None
    """The most this route may spend there in an hour; fallback counts."""
    when: When | None = None
    """Spill also while ANY of these holds."""


class ClassIn(Strict):
    """What one priority class may do. What is not written stays as documented for that class."""

    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of a worker's limit that it may fill."""
    max_wait: Duration | None = None
    """Replaces the route's `max_wait`."""
    spill: bool | None = None
    """Whether it may leave for `spill` and `fallback`."""
    shed: bool | None = None
    """Whether one that waits may be turned away for a request of a higher class when the line is full."""
    below: Annotated[float, Field(gt=0, le=1)] | None = None
    """It begins at home only while the workers of a backend are less full than this on average; default: 1."""


class HedgeIn(Strict):
    """A second attempt elsewhere when the first keeps its client waiting; the first token wins, the other is cancelled
    and what it cost is booked."""

    after: Lateness = "p95"
    """How long without a first token; `p95`: what 95 % of the answers of this rule and backend were faster than."""
    budget: Share = 0.05
    """The most of the rule's requests that may have a second attempt."""


class TimeoutsIn(Strict):
    """Each has a default: connect 2s, first_byte 5m, idle 60s, total 10m, order 15m, queued 2m at a bought API."""

    connect: Duration | None = None
    """Until the connection stands, TLS included."""
    first_byte: Duration | None = None
    """Until the answer begins."""
    idle: Duration | None = None
    """The longest silence between two pieces of an answer."""
    total: Duration | None = None
    """Until the answer ends."""
    order: Duration | None = None
    """Instead of `total`, of what is submitted and then looked at until it is done: until it is."""
    queued: Duration | None = None
    """How long such an order may lie in the upstream's queue without a sign of progress."""

    @model_validator(mode="after")
    def above_zero(self) -> TimeoutsIn:
        if any(getattr(self, name) == 0 for name in self.model_fields_set):
            raise ValueError("must be longer than 0 each; leave one out for its default")
        for name in ("connect", "first_byte", "idle"):
            given = getattr(self, name)
            if given is not None and self.total is not None and given > self.total:
                raise ValueError(f"the wrong way round: `{name}` {given:g} s is longer than `total` {self.total:g} s")
        return self


class RouteIn(Strict):
    """Where matching requests go. What is not written comes from `use`, then from `defaults`, key by key; `null` means
    none."""

    use: Name | None = None
    """A route of `named`, whose keys hold here unless they are written again."""
    backends: Names | None = None
    """Tried in this order, or as `objective` says."""
    objective: Objective | None = None
    """`cost`, `latency` or a weight for each: which backend is tried first, and which worker of it is best."""
    slo: SloIn | None = None
    """What a good answer is; the learned limit keeps it."""
    limit: Literal["learned", "fixed"] = "learned"
    """How much a worker may hold. `learned`: what the strictest SLO of its traffic allows, found out from its answers.
    `fixed`: its `limit_work_s`, or the documented prior; so too where no rule has an `slo`."""
    max_wait: Duration | None = None
    """How long a request may wait for local room; default: 0 where it may spill, else 20s: also where its class or the
    bounds of `spill` keep it."""
    filters: FiltersIn | None = None
    """Who may take part; default: everyone that is up, speaks the path and may have the data."""
    scorers: ScorersIn | None = None
    """What is best, scorer by scorer, beside or instead of an `objective`."""
    picker: PickerName = "best"
    """`best` of those sampled; `weighted_random`: by chance, the better the likelier; `power_of_two`: the better of two
    drawn at random."""
    spill: SpillIn | None = None
    """Who takes what has no room at home; default: nobody, nothing leaves."""
    damp: DampIn = DampIn()
    """Keeps `spill.when` from flapping."""
    on_stale: OnStale = "degrade"
    """When no worker has a fresh reading (10s). `hold`: the last one counts for five minutes; `degrade`: leases alone
    count; `spill`: requests spill at once."""
    classes: dict[Priority, ClassIn] = {}
    """What each priority class may do."""
    max_cost_usd: NotNegative | None = None
    """A request that may cost more is not sent to a bought API; 402 where there is nobody else."""
    fallback: Listed[Name] = ()
    """Backends to try where no worker of `backends` is up; default: none."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """Upstreams tried per request, the first one included."""
    hedge: HedgeIn | None = None
    """A second attempt where the first is slow to begin; default: none."""
    rescue: bool = False
    """Whether a text stream whose worker died is continued on another one, from what was already sent."""
    max_queue: Count = 2_000
    """Requests that may wait for it in one replica; past it 429 at once."""
    starve_after: Duration = 30.0
    """One that waits longer than this goes before every class."""
    timeouts: TimeoutsIn | None = None
    """How long an upstream may take."""
    residency: str | None = None
    """Where the data of every matching request must stay: `local`, a zone, or several separated by commas."""
    fields: dict[KnownField, Literal["pass", "remove", "refuse"]] = {}
    """What to do with body fields that change price, scheduling or retention."""


class RuleIn(Strict):
    """Which requests, and where they go."""

    name: Name
    """What receipts, headers and metrics call it."""
    match: MatchIn = MatchIn()
    """Which requests it is about; default: all."""
    route: RouteIn = RouteIn()
    """Where they go."""


class RoutingFile(Strict):
    """routing.yaml: ordered rules; the first that matches decides."""

    defaults: RouteIn = RouteIn()
    """For every rule that does not say otherwise."""
    named: dict[Name, RouteIn] = {}
    """Routes, or parts of them, that rules `use` by name."""
    rules: Annotated[tuple[RuleIn, ...], Field(min_length=1)]
    """In order: the first that matches decides, and a request that none matches is refused."""
