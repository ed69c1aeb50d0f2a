"""What a request leaves behind: circuits, votes, lessons, money, counters, its receipt. Nothing here waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from gateway.edge.account import LOST, RESCUED, Account, Attempt, Cost
from gateway.edge.ballot import Ballot, later, timings
from gateway.edge.booking import booking, row_of
from gateway.edge.patience import hasty
from gateway.edge.services import Services
from gateway.edge.telling import tell
from gateway.edge.verdict import passed
from gateway.errors import (
    ConnectFailed,
    GatewayError,
    Incapable,
    NotContinued,
    PermitMismatch,
    PermitRefused,
    Refused,
    UpstreamFault,
    UpstreamTimeout,
)
from gateway.fleet.circuits import ACCOUNT_PAUSE_SECONDS
from gateway.model import ASKED_TO_WAIT, Decision, Lease, Policy, Upstream, Usage
from gateway.routing.board import Board
from gateway.routing.estimate import prompt_tokens
from gateway.routing.votes import Alone, Ending, vote
from gateway.routing.worth import averaged
from gateway.upstreams import answers
from gateway.upstreams.codes import STUCK_IN_QUEUE
from gateway.upstreams.missing import MODEL_MISSING
from gateway.upstreams.ratelimits import allowances

_log = logging.getLogger("gateway")
_NS_PER_US = 1_000
NEVER_HOPELESS = Alone(0.0, 0.0)
"""A promise is kept or not, whether or not any worker could have kept it."""


class Books:
    """Of one request; `Forward` says when."""

    __slots__ = ("_account", "_request", "_s")

    def __init__(self, services: Services, account: Account) -> None:
        self._s, self._account, self._request = services, account, account.request

    def came(self, policy: Policy, decision: Decision) -> None:
        """Its rule's SLO guards the workers that it came to, and the more came the more may leave: whether or not it
        finds room."""
        spill = decision.rule.spill
        if spill is not None and spill.max_share is not None:
            self._s.budgets.arrived(decision.rule.name)
        if decision.worth is not None:
            worths, rule = self._s.worths, decision.rule.name
            worths[rule] = averaged(worths.get(rule), decision.worth)
        self._s.hedges.came(decision.rule)
        if decision.rule.learned:
            for group in decision.primary or decision.overflow:
                if policy.kind(group.backend) == "local":
                    self._s.view.lessons.came((group.backend, self._request.model), decision.rule.name)

    def ballot(self, board: Board, decision: Decision, lease: Lease, attempt: Attempt) -> Ballot | None:
        """The attempt's vote on the limit of its worker; None where no limit is learned, and for what writes nothing:
        it keeps no SLO of tokens."""
        services, upstream = self._s, lease.candidate.upstream
        if upstream.kind != "local" or not decision.rule.learned or self._writes_nothing:
            return None
        guard = board.guard(upstream.backend, self._request.model)
        if guard is None:
            return None
        return Ballot(services.view.lessons, services.telemetry, board, self._request, lease, attempt, guard)

    @property
    def _writes_nothing(self) -> bool:
        """As embeddings do."""
        return self._request.max_tokens == 0 and self._request.media is None

    def slo(self, decision: Decision, lease: Lease, attempt: Attempt, ending: Ending) -> None:
        """Counts whether an answer of our own workers kept its own rule's SLO; judged as votes are, but from when the
        first of two attempts was sent: that is what the client waited for. One that lost is not the answer."""
        if lease.group.outcome != "local" or attempt.result == LOST:
            return
        seen = timings(attempt, self._request, attempt.usage, ending, attempt.ended)
        if attempt.role == "hedge":
            seen = later(seen, attempt.began - self._beside(attempt).began)
        met = vote(decision.rule.slo, seen, NEVER_HOPELESS)
        if met is not None:
            self._s.telemetry.count_slo(decision.rule.name, met)
            self._s.flow.slo(decision.rule.name, met)

    def _beside(self, hedge: Attempt) -> Attempt:
        """The attempt that was to be overtaken."""
        return next(one for one in reversed(self._account.attempts) if one is not hedge and one.began <= hedge.began)

    def began_well(self, lease: Lease, attempt: Attempt) -> None:
        """Its first token came: what was half open is closed, however long the answer takes."""
        view = self._s.view
        if view.circuits.began_well(lease.candidate.upstream.name, view.ago(attempt.began), view.now()):
            view.rebuild()

    def answered(self, lease: Lease, attempt: Attempt) -> None:
        """The upstream did what it was asked for, or said itself that the request is wrong: it is up."""
        view, upstream = self._s.view, lease.candidate.upstream
        began, now = view.ago(attempt.began), view.now()
        moved = view.circuits.answered(upstream, self._peers(upstream), began, now, self._ratio(attempt))
        if attempt.result in ("answered", RESCUED):
            view.tries.answered(upstream.name, self._request.model, now)
        if moved:
            view.rebuild()

    def _ratio(self, attempt: Attempt) -> float | None:
        """How many times as long as forecast it took to its first token; a whole answer to its end, for as many tokens
        as it has. None where nobody foresaw it, as nobody does media, or its own reader took the time."""
        said, usage = attempt.forecast, attempt.usage
        if (
            said is None
            or self._request.media is not None
            or attempt.result != "answered"
            or attempt.held_at is not None
        ):
            return None
        if attempt.first is not None:
            return (attempt.first - attempt.began) / said.first
        if attempt.streamed or attempt.last is None or usage is None:
            return None
        later = max(0, usage.output_tokens // self._request.n - 1)
        return (attempt.last - attempt.began) / (said.first + said.each * later)

    def _peers(self, upstream: Upstream) -> Sequence[Upstream]:
        """All of its backend, in the policy in force."""
        return self._s.policy.backends.get(upstream.backend, (upstream,))

    def fault(self, lease: Lease, attempt: Attempt, fault: UpstreamFault) -> None:
        """What this fault says about the upstream; the snapshot is rebuilt at once so that the next request knows."""
        upstream = lease.candidate.upstream
        if isinstance(fault, PermitMismatch):
            fields = {"fields": {"upstream": upstream.name}}
            _log.error("a request was about to leave without a permit", extra=fields)
            return  # our own mistake
        if isinstance(fault, NotContinued | Incapable):
            return  # it is up, and cannot do what others can
        if self._own(lease, fault):
            return
        view = self._s.view
        circuits, now = view.circuits, view.now()
        if isinstance(fault, Refused) and fault.code in (MODEL_MISSING, STUCK_IN_QUEUE):
            view.unloaded.said(upstream.name, lease.candidate.served.name, now)
            view.rebuild()
            return  # it may serve its other models
        if isinstance(fault, Refused) and answers.busy(upstream.kind, fault):
            circuits.busy(upstream, now, fault.retry_after)
            view.rebuild()
            return
        view.tries.failed(upstream.name, now)
        if isinstance(fault, PermitRefused):
            circuits.pause(upstream, now, ACCOUNT_PAUSE_SECONDS, "permit", judged=True)
        elif isinstance(fault, Refused) and fault.account:
            circuits.pause(upstream, now, ACCOUNT_PAUSE_SECONDS, "account", judged=True)
        elif isinstance(fault, Refused) and fault.retry_after:
            circuits.pause(upstream, now, fault.retry_after, ASKED_TO_WAIT)
        else:
            nobody = isinstance(fault, ConnectFailed)
            began = view.ago(attempt.began)
            if not circuits.failed(upstream, self._peers(upstream), began, now, at_once=nobody):
                return
        view.rebuild()

    def _own(self, lease: Lease, fault: UpstreamFault) -> bool:
        """The caller's own doing: its content or what it asks for, its slowness as a reader, or too little time, all of
        it or what one attempt may take of it."""
        if isinstance(fault, Refused):
            return answers.about_content(fault) or answers.about_request(fault)
        if not isinstance(fault, UpstreamTimeout):
            return False
        if fault.held or passed(self._request.deadline):
            return True
        return fault.phase == "first_byte" and hasty(fault.seconds, lease.decision.rule.timeouts)

    def sent(self, lease: Lease, attempt: Attempt) -> None:
        """A request leaves: it may be the one that tries a half-open upstream. What it may take of the rate limits of a
        bought API is counted until its answer tells."""
        if self._s.view.circuits.probe(lease.candidate.upstream.name, self._s.view.now()):
            self._s.view.rebuild()
        if self._request.beginnings:
            self._s.prefixes.sent(self._request, lease.candidate.upstream.name)
        if lease.candidate.upstream.kind != "managed":
            return
        request = self._request
        learned = self._s.board().known(request.model)
        longest = round(learned.output) if request.max_tokens is None else request.max_tokens
        tokens = prompt_tokens(request, learned) + longest * request.n
        attempt.sent = self._s.view.headroom.sent(lease.candidate.upstream.name, tokens, self._s.view.now())

    def told(self, lease: Lease, attempt: Attempt, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """What its answer says of our account. One with nothing left takes no more, from the next request on."""
        sent, attempt.sent = attempt.sent, None
        if sent is None:
            return
        name, view, now = lease.candidate.upstream.name, self._s.view, self._s.view.now()
        view.headroom.told(name, sent, allowances(headers, time.time()), now)
        if view.headroom.back(name, now) > now:
            state = view.current.states.get(name)
            if state is not None and state.out is None:
                view.rebuild()

    def settle(self, lease: Lease, attempt: Attempt) -> None:
        """Once for every attempt: usage becomes cost, the ledger gets its row, what was set aside is corrected. A paid
        attempt of unknown outcome keeps its reservation."""
        account, view = self._account, self._s.view
        view.circuits.ended(lease.candidate.upstream.name, view.ago(attempt.began))
        if attempt.free and attempt.sent is not None:
            view.headroom.untaken(lease.candidate.upstream.name, attempt.sent, view.now())
        booked = booking(lease, attempt, self._request, account.learned)
        if attempt.usage is not None and attempt.cost is None:
            account.book(attempt, booked.cost)
        if attempt.usage is not None:
            attempt.usage = booked.usage
        if attempt.result != LOST:
            account.counted = booked.usage or account.counted
        elif not attempt.free:
            attempt.lost = booked.cost
        if booked.usage is not None:
            self._count(lease, booked.usage, booked.cost)
        if lease.reservation is not None:
            if attempt.usage is None and attempt.free:
                self._s.budgets.give_back_later(lease.reservation)
            elif booked.cost.basis != "reserved" and booked.cost.micro is not None:
                # A guess gives no money of the hour back: the API may bill all that was set aside.
                least = lease.reservation.micro_usd if booked.usage is not None and booked.usage.estimated else 0
                self._s.budgets.settle_later(lease.reservation, max(booked.cost.micro, least))
        self._s.till.book(row_of(account, lease, attempt, booked, time.time_ns() // _NS_PER_US), lease.hold)

    def _count(self, lease: Lease, usage: Usage, cost: Cost) -> None:
        telemetry, upstream = self._s.telemetry, lease.candidate.upstream.name
        usd = cost.usd or 0.0
        telemetry.count_usage(lease.group.backend, cost.basis, usd, usage.input_tokens, usage.output_tokens)
        if not usage.absurd:
            return
        telemetry.count_absurd(upstream)
        if upstream not in self._s.liars:
            self._s.liars.add(upstream)
            _log.warning("an upstream told usage that cannot be true", extra={"fields": {"upstream": upstream}})

    def first_token(self, lease: Lease, attempt: Attempt) -> None:
        """What is late from now on, for those who may hedge. Who lost would have taken longer still."""
        until = attempt.ended if attempt.result == LOST or not attempt.streamed else attempt.first
        if attempt.result in ("answered", LOST) and until is not None:
            backend, seconds = lease.candidate.upstream.backend, until - attempt.began
            self._s.hedges.saw(lease.decision.rule, backend, self._request.stream, seconds)

    def teach(self, lease: Lease, attempt: Attempt) -> None:
        """What a complete answer says about the next ones."""
        request, account = self._request, self._account
        usage, said = attempt.usage, attempt.forecast
        if usage is None or usage.estimated or self._writes_nothing:
            return
        if lease.candidate.upstream.kind == "local" and request.text_only and request.media is None:
            each = usage.output_tokens // request.n
            self._s.view.lessons.finished(request.model, request.prompt_bytes, usage.input_tokens, each)
        if said is not None:
            usd = account.cost.usd if account.cost is not None else None
            self._s.calibration.heard(said, request, lease, attempt, usage, usd)

    def close(self) -> None:
        """Step 12: off the client's path, the counters move and the receipt is queued."""
        account, telemetry = self._account, self._s.telemetry
        group = account.lease.group if account.lease is not None else None
        reason = group.reason if group is not None else account.error or "none"
        if account.visit.kept is not None and account.rule is not None:
            telemetry.count_kept(account.rule, account.visit.kept)
        telemetry.count_request(group.backend if group else "none", account.outcome, reason)
        if account.error is not None and account.error != GatewayError.code:  # those are counted where they are logged
            telemetry.count_error(account.error)
        telemetry.duration.observe(time.monotonic() - self._request.arrived)
        if account.asked is not None:
            telemetry.overhead.observe(account.overhead())
        telemetry.queue.observe(account.visit.waited)
        if account.visit.expected is not None and account.outcome == "local" and len(account.attempts) == 1:
            self._s.calibration.waited(account.visit.expected, account.visit.waited)
        if (first := account.first_token) is not None:
            telemetry.ttft.observe(first)
        tell(self._s, account)
        self._s.receipts.add(account.receipt())
