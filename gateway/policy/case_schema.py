"""Golden cases as pydantic models: a request, the state of the fleet, and what must be decided."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from gateway.model import Outcome, Reason
from gateway.policy.strict import Strict
from gateway.policy.words import ABSOLUTE, Duration, ModelName, Name, NotNegative, WholeShare


def _moment(value: Any) -> float:
    """Seconds since the epoch of an ISO 8601 time that says its offset."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError('must be a time with its offset, such as "2026-01-05T03:00:00+01:00"')
    return moment.timestamp()


Moment = Annotated[float, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
"""An ISO 8601 time with its offset."""


class RequestIn(Strict):
    """One request, as a client would send it."""

    path: Annotated[str, Field(pattern=ABSOLUTE, examples=["/v1/chat/completions"])] = "/v1/chat/completions"
    """A generation path, /v1 included."""
    headers: dict[str, str] = {}
    """Such as X-Data-Residency, X-Gateway-Priority, X-Gateway-Max-Wait-Ms, or what rules look at."""
    tenant: Name | None = None
    """Whose key it carries; without it a call without a key, which a policy with keys refuses."""
    body: dict[str, Any]
    """The JSON body; `model` is required."""


_PARTS = frozenset({*RequestIn.model_fields, "policy"})


def unwrapped(given: Any) -> Any:
    """What a person gives as a request: the body of one, or {path, headers, tenant, body}; made into the latter."""
    plain = isinstance(given, dict) and given and given.keys().isdisjoint(_PARTS)
    return {"body": given} if plain else given


class WorkerState(Strict):
    """What is true of one upstream in a case; what is not written is idle and healthy, or not published."""

    load: NotNegative | None = None
    """Leased work as a share of the limit; 1 is full."""
    wait: Duration | None = None
    """Instead of `load`: it holds all of its limit, and so much work beyond it."""
    outside: NotNegative | None = None
    """Work that is not ours, as a share of the limit."""
    inflight: Annotated[int, Field(ge=0)] | None = None
    """Requests that it holds for us."""
    running: Annotated[int, Field(ge=0)] | None = None
    """Requests in its batch, as its metrics page says."""
    waiting: Annotated[int, Field(ge=0)] | None = None
    """Requests in its own queue: `queue_depth`."""
    kv: WholeShare | None = None
    """Use of its KV cache: `kv_util`."""
    gpu: WholeShare | None = None
    """Use of its GPUs: `gpu_util`."""
    age: Duration | None = None
    """How old these readings are."""
    healthy: bool = True
    """false: it is out."""
    drained: bool = False
    """It takes nothing new, as after `gateway drain`."""
    headroom: WholeShare | None = None
    """What an API account has left of its rate limit."""
    errors: WholeShare | None = None
    """Share of its attempts that failed lately: `error_rate`."""
    warm: tuple[ModelName, ...] = ()
    """Models that it answered for lately."""
    models: tuple[ModelName, ...] | None = None
    """Names that it has loaded, as it calls them itself; not written: it does not publish them."""
    asleep: bool = False
    """Its weights are put away."""
    ramp: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of its limit that it may hold while it warms up."""

    @model_validator(mode="after")
    def one_measure(self) -> WorkerState:
        if self.load is not None and self.wait is not None:
            raise ValueError("`load` and `wait` both say how much work it holds; write one of them")
        return self


class Expect(Strict):
    """What must come out; what is not written may be anything."""

    outcome: Outcome | None = None
    """How it is served, after the wait that the loads foretell; absent where it is refused."""
    backend: Name | None = None
    """The backend that serves it."""
    upstream: Name | None = None
    """Who serves it. Of equals it is the same one every time, but which one is nobody's promise."""
    version: Name | None = None
    """Which of the model's versions serves it, where there are several."""
    reason: Reason | None = None
    """As in `X-Gateway-Reason`."""
    rule: Name | None = None
    """The rule that decides or refuses."""
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    """200 where it is served."""
    code: Annotated[str, Field(min_length=1, examples=["fleet_saturated"])] | None = None
    """Of the error where it is refused."""
    residency: tuple[str, ...] | None = None
    """Where the data must stay after all who have a say: `local` and zones, in any order."""
    max_wait: Duration | None = None
    """How long it may wait for room at home."""
    waits: bool | None = None
    """Whether it waits before that, for room or in vain."""
    candidates: tuple[Name, ...] | None = None
    """All upstreams that may take it, at home and beyond, full or not, in any order."""
    drops: dict[Name, Annotated[str, Field(min_length=1)]] | None = None
    """Upstream -> the first reason that keeps the request from it, such as `residency` or `health`."""

    @model_validator(mode="after")
    def says_something(self) -> Expect:
        if not self.model_fields_set:
            raise ValueError("must expect something, such as `outcome: spilled`")
        return self


class Case(Strict):
    """A request, the state of the fleet, and what must be decided."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """A sentence that says what must happen; every name stands once in its file."""
    request: RequestIn
    """What is asked."""
    fleet: dict[Name, WorkerState] = {}
    """Upstream -> its state; the others are idle and healthy."""
    at: Moment | None = None
    """When it happens; default: a Monday at 12:00 UTC."""
    spent_usd: NotNegative = 0.0
    """What each rule has spent in the last hour."""
    share: WholeShare = 0.0
    """The share of each rule's requests that left lately, as `spill.max_share` counts it."""
    expect: Expect
    """What must come out."""


class CasesFile(Strict):
    """cases/*.yaml: golden cases of the folder."""

    cases: Annotated[tuple[Case, ...], Field(min_length=1)]
    """Each stands by itself."""
