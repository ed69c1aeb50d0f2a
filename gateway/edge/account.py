"""What happened to one request, kept while it happens: the source of its receipt, its headers and its metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from gateway.edge.calls import Call
from gateway.errors import GatewayError
from gateway.fleet.headroom import Sent
from gateway.model import MICRO_PER_USD, Decision, GenRequest, Learned, Lease, Look, Role, Tenant, Usage, Visit
from gateway.receipts import Receipt
from gateway.routing.forecast import Forecast
from gateway.routing.learn import PRIOR

MAX_MODEL_NAME = 128
"""The longest name a policy may give; a longer one is unknown anyway, and the caller's text."""
CLIENT_LEFT, CLIENT_STALLED = "client_left", "client_stalled"
"""What a client did instead of taking its answer to the end: it went, or it took nothing for so long that its
connection was cut or the time of its upstream ended. Results of attempts, and errors in receipts."""
LOST, CANCELLED = "lost", "cancelled"
"""Results of attempts: another one was faster; the process ended."""
RESCUED = "rescued"
"""Result of an attempt that wrote the rest of another one's stream."""
BAD_UPLOAD = "bad_upload"
"""Result of an attempt whose caller's form turned out to be none in the middle of it, or too large, or too slow."""
MOST_UNREACHED = 16
"""Upstreams of one request that did not even take the connection."""
MOST_QUOTAS = 4
"""Names of budgets on one receipt, which has room for 2 KB."""
_MS = 1000.0
_TIME_STEPS, SHARE_STEPS = 100, 10_000
"""A receipt tells times to 0.01 ms, scores and loads to 0.0001."""


class OrderCall(NamedTuple):
    """`status` None: no answer came."""

    step: Literal["submit", "poll", "fetch", "cancel"]
    began: float
    ended: float
    status: int | None


@dataclass(slots=True)
class Attempt:
    """One upstream, asked once. `began`, `ended`, `first`, `last` and `held_at` are moments (monotonic seconds), the
    last three taken where the upstream's bytes arrive. A whole answer has no `first`; its `tokens` are its usage's."""

    upstream: str
    id: str
    began: float
    ended: float = 0.0
    result: str = "unfinished"
    """A word or the name of a fault: docs/metrics.md lists them."""
    status: int | None = None
    free: bool = True
    """Nothing can have been charged for it: it never left, or it was refused before any work."""
    unreached: bool = False
    """Its connection was refused, or it could not be told what is asked: that cost nobody anything."""
    sent: Sent | None = None
    """What it took of its account's rate limits, as long as no answer told."""
    first: float | None = None
    """The first token came."""
    last: float | None = None
    """The newest token came, or the end of a whole answer."""
    tokens: int = 0
    """Output so far, a frame of a stream counting as one."""
    held_at: float | None = None
    """The client first took the stream more slowly than it came, and the upstream was held back."""
    streamed: bool = False
    """Its answer is a stream of events, as far as is known: what was asked for, until the head tells."""
    on_first: Callable[[], None] | None = None
    """Called as the first token comes."""
    on_end: Callable[[], None] | None = None
    """Called when the upstream has said all, before the client is given the end of it."""
    role: Role = "asked"
    asked_at: str | None = None
    """The endpoint into whose words the request was translated; None: it went as it came."""
    lease: Lease | None = None
    forecast: Forecast | None = None
    """What was to be expected of it."""
    usage: Usage | None = None
    """Its own: an answer may have been written by several."""
    cost: Cost | None = None
    lost: Cost | None = None
    """What it cost, or may be charged, although another one answered."""
    claim: Callable[[], None] | None = None
    """Called before anything is written to the client; raises where another attempt answers it."""
    span: str = ""
    """Of the trace; empty: nothing is recorded."""
    calls: list[OrderCall] = field(default_factory=list)
    """Of an order, where a trace is recorded: the first MOST_CALLS of them."""
    more_calls: int = 0

    def row(self, origin: float) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "upstream": self.upstream,
            "result": self.result,
            "status": self.status,
            "at_ms": _ms(self.began - origin),
            "took_ms": _ms((self.ended or time.monotonic()) - self.began),
        }
        if self.role != "asked":
            shown["role"] = self.role
        if self.asked_at is not None:
            shown["asked_at"] = self.asked_at
        if self.lost is not None:
            shown["usd"] = self.lost.usd
        return shown


def left_of(attempts: Sequence[Attempt], most: int) -> int:
    """How many of a rule's `most` attempts are left after these, whatever became of them. One that could not do it is
    none, nor is a refused connection, as long as there are not too many: those of a fleet that restarts refuse all at
    once."""
    asked = sum(not one.unreached for one in attempts)
    return most - asked if len(attempts) - asked < MOST_UNREACHED else 0


class Cost(NamedTuple):
    """Micro-dollars; None: not known. `basis`: as in `Row`."""

    micro: int | None
    basis: str

    @property
    def usd(self) -> float | None:
        """To be shown: a float has digits enough for every micro-dollar below a billion dollars."""
        return None if self.micro is None else self.micro / MICRO_PER_USD


@dataclass(slots=True)
class Account:
    """Filled in by `Forward`; `receipt()` is called once, when everything is over."""

    request: GenRequest
    policy: str
    learned: Learned = PRIOR
    """What is known of its model's lengths."""
    wall: float = field(default_factory=time.time)
    decision: Decision | None = None
    visit: Visit = field(default_factory=Visit)
    """What its admissions saw and how long they waited, whoever was chosen and whether anybody was."""
    lease: Lease | None = None
    attempts: list[Attempt] = field(default_factory=list)
    asked: float | None = None
    first_byte: float | None = None
    last_byte: float | None = None
    usage: Usage | None = None
    """Of the answer that the client has."""
    counted: Usage | None = None
    """Of the newest attempt that was sent, also where it told nothing."""
    cost: Cost | None = None
    """Of all that worked on that answer."""
    forecast: Forecast | None = None
    """Of the upstream that was chosen, as its lease was taken."""
    sound: Callable[[], float] | None = None
    """Seconds of the sound that is sent along, as far as it has passed."""
    error: str | None = None
    refused_by: str | None = None
    refused_drops: Mapping[str, int] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    job: bool = False
    """Nobody waits for it: it is the work of a job."""
    left: str | None = None
    """How the client left, if it did: CLIENT_LEFT, or CLIENT_STALLED."""

    @property
    def outcome(self) -> str:
        """The outcome of the lease that served it; `refused`, `failed` or `left` where the client got nothing."""
        if self.left and self.first_byte is None:
            return "left"
        if self.error is not None and self.first_byte is None:
            return "failed" if self.attempts else "refused"
        return self.lease.group.outcome if self.lease is not None else "refused"

    def chose(self, lease: Lease, forecast: Forecast | None) -> None:
        """By this lease it is asked for, or answered if another was tried beside it."""
        self.lease, self.decision, self.forecast = lease, lease.decision, forecast

    def book(self, attempt: Attempt, cost: Cost) -> None:
        """What this part of the answer cost."""
        before = self.cost
        attempt.cost = cost
        if before is not None:
            known = before.micro is not None and cost.micro is not None
            cost = Cost((before.micro or 0) + (cost.micro or 0) if known else None, cost.basis)
        self.cost = cost

    def fail(self, error: GatewayError) -> None:
        """Keeps what the receipt tells, not the error: its traceback leads back here, and the two would hold the
        request's body until the garbage collector comes by."""
        self.error, self.refused_by, self.refused_drops = error.code, error.rule, error.drops

    @property
    def was_sent(self) -> bool:
        """Whether any upstream had it: it counts for the caller's limits, whatever came of it."""
        return any(one.status is not None or not one.free for one in self.attempts)

    @property
    def bought(self) -> bool:
        """Whether an attempt may have been charged for."""
        return any(
            not one.free and one.lease is not None and one.lease.candidate.upstream.kind == "managed"
            for one in self.attempts
        )

    @property
    def rule(self) -> str | None:
        """The rule that decided, or that refused."""
        if self.decision is not None:
            return self.decision.rule.name
        return self.refused_by

    @property
    def drops(self) -> Mapping[str, int]:
        if self.decision is not None:
            return self.decision.drops
        return self.refused_drops

    @property
    def first_token(self) -> float | None:
        """Seconds from the arrival to the first byte of a stream; None of a whole answer: that comes at its end."""
        return self.first_byte - self.request.arrived if self.first_byte is not None and self.request.stream else None

    def overhead(self) -> float:
        """Seconds of our own between the body being whole and the first upstream being asked, without the wait for
        capacity; 0 where nobody was asked."""
        return 0.0 if self.asked is None else max(0.0, self.asked - self.request.ready - self.visit.waited)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The contract's `X-Gateway-*` headers, as far as they are known."""
        made = [(b"x-gateway-policy", self.policy.encode())]
        if self.rule is not None:
            made.append((b"x-gateway-rule", self.rule.encode()))
        if self.lease is not None:
            group = self.lease.group
            made += [
                (b"x-gateway-outcome", group.outcome.encode()),
                (b"x-gateway-backend", group.backend.encode()),
                (b"x-gateway-upstream", self.lease.candidate.upstream.name.encode()),
                (b"x-gateway-reason", group.reason.encode()),
                (b"x-gateway-queue-ms", b"%.1f" % (self.visit.waited * _MS)),
                (b"x-gateway-overhead-ms", b"%.2f" % (self.overhead() * _MS)),
            ]
        if self.cost is not None and self.cost.micro is not None:
            made.append((b"x-gateway-cost-usd", b"%d.%06d" % divmod(self.cost.micro, MICRO_PER_USD)))
        return made

    def receipt(self) -> Receipt:
        request, decision, lease = self.request, self.decision, self.lease
        origin = request.arrived
        return {
            "id": request.id,
            "client_id": request.client_id,
            "time": round(self.wall, 3),
            "tenant": request.tenant.name,
            "model": request.model[:MAX_MODEL_NAME],
            "policy": self.policy,
            "rule": self.rule,
            "residency": _residency(decision, request),
            "candidates": [_candidate(look) for look in self.visit.looks.values()],
            "drops": dict(self.drops),
            "chosen": lease.candidate.upstream.name if lease else None,
            **_version(decision, lease),
            "attempts": [attempt.row(origin) for attempt in self.attempts],
            "outcome": self.outcome,
            "reason": lease.group.reason if lease else "budget" if self.visit.kept else None,
            "spill_when": decision.spill_now if decision else None,
            "kept_by": self.visit.kept,
            **_quota(self.visit, lease),
            "removed": list(self.removed),
            "error": self.left or self.error,
            "usage": _usage(self.usage),
            "cost": _cost(self.cost, lease),
            "forecast": _forecast(self.forecast),
            "times": {
                "queue_ms": _ms(self.visit.waited),
                "overhead_ms": _ms(self.overhead()),
                "ttft_ms": None if (first := self.first_token) is None else _ms(first),
                "total_ms": _ms(time.monotonic() - origin),
            },
        }


def _residency(decision: Decision | None, request: GenRequest) -> list[str]:
    demand = decision.demand if decision else request.residency
    return demand.words()


def _cost(cost: Cost | None, lease: Lease | None) -> dict[str, object] | None:
    """With what should be known of the price, where it is old or not sure."""
    if cost is None:
        return None
    marks = lease.candidate.price_marks if lease is not None else ()
    return {"usd": cost.usd, "basis": cost.basis} | ({"marks": list(marks)} if marks else {})


def _version(decision: Decision | None, lease: Lease | None) -> dict[str, str]:
    """Of a model with versions: the one that served, and the one that the session belongs to where that is another."""
    served = lease.candidate.served.version if lease is not None else None
    wanted = decision.version if decision is not None else None
    told = {"version": served, "version_wanted": None if wanted == served else wanted}
    return {name: value for name, value in told.items() if value is not None}


def _quota(visit: Visit, lease: Lease | None) -> dict[str, Any]:
    """Which budgets had no room, by backend; which soft one is used up; what the last attempt set aside, of which."""
    shares = lease.hold.shares if lease is not None and lease.hold is not None else ()
    told: dict[str, Any] = {}
    if visit.unpaid:
        told["kept"] = {backend: one.quota or one.why for backend, one in visit.unpaid.items()}
    if visit.past is not None:
        told["past"] = visit.past
    if shares:
        told["held_usd"] = max(share.amount for share in shares) / MICRO_PER_USD
        told["of"] = [share.quota.name for share in shares][:MOST_QUOTAS]
    return {"quota": told} if told else {}


def _candidate(look: Look) -> dict[str, Any]:
    one, reading = look.candidate, look.reading
    return {
        "upstream": one.upstream.name,
        "score": round(one.score * SHARE_STEPS) / SHARE_STEPS,
        "work": one.work,
        "load": round((look.leased + one.outside) / one.limit * SHARE_STEPS) / SHARE_STEPS,
        "limit": one.limit,
        "queue_depth": None if reading is None else reading.waiting,
        "gpu": None if reading is None else reading.gpu,
        "age_ms": None if reading is None else _ms(max(0.0, look.at - reading.at)),
    }


def _forecast(said: Forecast | None) -> dict[str, Any] | None:
    if said is None:
        return None
    return {"first_ms": _ms(said.first), "total_ms": _ms(said.total), "output_tokens": said.output, "usd": said.price}


_MADE = ("images", "seconds", "characters", "audio_seconds", "quality", "size", "resolution")
"""What is told of pictures, films and sounds: how much, and of which kind where that has its own price."""


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    told: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "estimated": usage.estimated,
    }
    if usage.images or usage.seconds or usage.characters or usage.audio_seconds:
        told |= {name: amount for name in _MADE if (amount := getattr(usage, name))}
    return told


def _ms(seconds: float) -> float:
    # A fourth of what round(..., 2) takes, and a receipt has a dozen of them.
    return round(seconds * (_MS * _TIME_STEPS)) / _TIME_STEPS


def refused(call: Call, tenant: Tenant, policy: str, error: GatewayError) -> Receipt:
    """The receipt of a request that was refused before it could be decided: its tenant finds out why."""
    return {
        "id": call.id,
        "client_id": call.client_id,
        "time": round(time.time(), 3),
        "tenant": tenant.name,
        "model": None,
        "policy": policy,
        "rule": None,
        "residency": [],
        "candidates": [],
        "drops": {},
        "chosen": None,
        "attempts": [],
        "outcome": "refused",
        "reason": None,
        "error": error.code,
        "usage": None,
        "cost": None,
        "times": {"total_ms": _ms(time.monotonic() - call.started)},
    }
