"""What a rule matches, and the route that it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Literal, Protocol

from gateway.model.words import LOAD_WEIGHT, Demand, OnStale, PickerName, Priority, SpillOrder, TokenBounds


@dataclass(frozen=True, slots=True)
class Slo:
    """First token within `ttft`, each later one within `tpot`, all of it within `total` (seconds), for a share `target`
    of the answers."""

    ttft: float | None = None
    tpot: float | None = None
    target: float = 0.99
    total: float | None = None


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
    below: float = 1.0
    """It begins at home only while the backend's workers are, on average, less full than this."""


CLASSES: Mapping[Priority, PriorityClass] = {
    "interactive": PriorityClass(1.0, shed=False),
    "standard": PriorityClass(0.9),
    "batch": PriorityClass(0.7),
}
"""What each class may do where a rule does not say otherwise (docs/policies.md, Spill)."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `idle` is the longest silence between two pieces of an answer. An order, which is submitted and then
    looked at until it is done, has until `order` instead of `total`, and `queued` until the upstream begins it."""

    connect: float = 2.0
    first_byte: float = 300.0
    idle: float = 60.0
    total: float = 600.0
    order: float = 900.0
    queued: float | None = None
    """None: as the upstream's kind says (`edge/filling.py`)."""


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
class Hedge:
    """A second attempt begins elsewhere when the first has had no first token for `after` seconds (None: the p95 that
    was learned for the route), for at most the share `budget` of the rule's requests."""

    after: float | None = None
    budget: float = 0.05


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
    """How long a request waits for room at home that cannot leave: past the bounds of `spill`, by its class, or because
    nobody takes it. None: `max_wait`."""
    hedge: Hedge | None = None
    rescue: bool = False
    """Whether a text stream whose worker died is continued on another one."""
    timeouts_said: tuple[str, ...] = ()
    """Which of `timeouts` it states itself."""
    max_queue: int = 2_000
    """Requests of it that may wait in one replica."""
    starve_after: float = 30.0
    """Seconds after which one that waits has a part of what comes free before every class."""
