"""Forward owns one request from its decision to the last byte: steps 3 to 12, and the only retry loop in the code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from secrets import token_hex

from msgspec import Raw

from gateway.edge import relay
from gateway.edge.account import CLIENT_LEFT, CLIENT_STALLED, Account, Attempt
from gateway.edge.ballot import Ballot, ending_of
from gateway.edge.books import Books
from gateway.edge.calls import Call, Scope
from gateway.edge.cycle import WIRE, Cycle
from gateway.edge.patience import within
from gateway.edge.replies import Receive, Send, identity, reply_error
from gateway.edge.services import Services
from gateway.edge.verdict import passed, verdict
from gateway.edge.witness import refused_in_audit
from gateway.errors import (
    AuditUnavailable,
    DeadlineExceeded,
    FleetSaturated,
    GatewayError,
    NoCapacity,
    Refused,
    UpstreamFault,
)
from gateway.model import Decision, Demand, GenRequest, Kind, Lease, Timeouts
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.estimate import work_left
from gateway.routing.fields import action
from gateway.routing.residency import strictest
from gateway.routing.votes import Ending
from gateway.upstreams import answers
from gateway.upstreams.dialects import openai
from gateway.upstreams.dialects.surface import ENDPOINTS


class Forward:
    """An ASGI response. Being its own, it can release in a `finally` that runs when the client leaves,
    whatever it waits for."""

    def __init__(
        self, services: Services, call: Call, request: GenRequest, fields: Mapping[str, Raw], board: Board
    ) -> None:
        self._s, self._call, self._request, self._fields = services, call, request, fields
        self._endpoint = ENDPOINTS[request.endpoint]
        self._policy = board.policy
        self._account = Account(request, self._policy.version)
        self._books = Books(services, self._account)
        self._kept = Demand()
        """What its newest decision demands of its data, and so every one before it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every answer takes the short way, which never waits."""
        wire: Cycle = scope["extensions"][WIRE]
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI server runs applications in tasks
        wire.on_left = lambda: self._leave(task, wire)
        try:
            if wire.disconnected:
                self._leave(task, wire)
            model = self._request.model if self._request.model in self._policy.models else "unknown"
            with self._s.telemetry.step("gateway.request", model=model, request_id=self._request.id):
                await self._serve(wire)
        except asyncio.CancelledError:
            if not self._account.left:
                raise
            task.uncancel()
        except GatewayError as error:
            self._account.fail(error)
            refused_in_audit(self._s, self._request, self._policy, self._account, error, self._kept)
            reply_error(wire, self._call, error, self._account.headers())
        except Exception:
            self._account.fail(GatewayError("unhandled"))
            raise
        finally:
            wire.on_left = None
            self._books.close()

    def _leave(self, task: asyncio.Task[None], wire: Cycle) -> None:
        """A client that leaves cancels the wait for capacity as well as the stream."""
        self._account.left = CLIENT_STALLED if wire.stalled else CLIENT_LEFT
        task.cancel()

    async def _serve(self, wire: Cycle) -> None:
        """Decide, admit, send; after a fault that allows it once more without that upstream."""
        self._s.retries.request()
        faults: list[tuple[str, UpstreamFault]] = []
        while True:
            lease = await self._admit(self._decide(faults), faults)
            decision = lease.decision
            try:
                if decision.demand:
                    self._audit(decision, lease)
                await self._attempt(decision, lease, wire)
                return
            except UpstreamFault as fault:
                name, kind = lease.candidate.upstream.name, lease.candidate.upstream.kind
                faults.append((name, fault.with_traceback(None)))  # the traceback leads back to this list
                if not self._may_retry(decision, kind, faults):
                    raise verdict(faults, kind, self._request.deadline) from fault
            finally:
                self._s.admission.release(lease)

    def _decide(self, faults: list[tuple[str, UpstreamFault]]) -> Decision:
        try:
            decision = self._again(faults)
        except GatewayError as error:
            if not faults:
                self._shadow(error)
            elif isinstance(error, NoCapacity | FleetSaturated):
                raise verdict(faults, "local", self._request.deadline) from faults[-1][1]
            raise
        if not faults:
            self._books.came(self._policy, decision)
            self._shadow(decision)
        return decision

    def _shadow(self, answer: Decision | GatewayError) -> None:
        """The first decision of a request is what a candidate in the shadow is compared with."""
        candidate = self._s.live.candidate
        if candidate is not None and candidate.trial.mode == "shadow" and self._policy is self._s.policy:
            request = self._request
            if candidate.policy.headers != self._policy.headers:
                request = replace(request, headers=self._call.kept(candidate.policy.headers))
            self._s.shadow.later(candidate, request, answer, self._s.view.current)

    def _again(self, faults: list[tuple[str, UpstreamFault]]) -> Decision:
        """The decision as things are now: the policy is the request's own, the snapshot the newest.

        Another rule may match than before, because a condition on the fleet does. Where the data may go is then settled
        all the same, and only gets stricter: from one attempt to the next, and while it waits.
        """
        excluded, board = frozenset(name for name, _ in faults), self._s.board_of(self._policy)
        decision = decide(self._request, board, self._s.rng, excluded=excluded)
        if self._kept and strictest(decision.demand, self._kept) != decision.demand:
            bound = replace(self._request, residency=strictest(self._request.residency, self._kept))
            decision = decide(bound, board, self._s.rng, excluded=excluded)
        self._account.decision, self._kept = decision, decision.demand
        return decision

    async def _admit(self, decision: Decision, faults: list[tuple[str, UpstreamFault]]) -> Lease:
        try:
            lease = await self._s.admission.admit(
                self._request, decision, self._account.visit, lambda: self._again(faults)
            )
        except FleetSaturated:
            if faults and not decision.primary:
                raise verdict(faults, "local", self._request.deadline) from faults[-1][1]
            raise
        self._account.lease, self._account.decision = lease, lease.decision
        self._account.forecast = self._s.calibration.forecast(self._s.board_of(self._policy), self._request, lease)
        return lease

    def _may_retry(self, decision: Decision, kind: Kind, faults: list[tuple[str, UpstreamFault]]) -> bool:
        return (
            self._account.first_byte is None
            and answers.retryable(kind, faults[-1][1])
            and len(faults) < decision.rule.attempts
            and not passed(self._request.deadline)
            and self._afforded()
        )

    def _afforded(self) -> bool:
        """Takes a retry from the budget; False where it is used up."""
        taken = self._s.retries.take()
        self._s.telemetry.count_retry(taken)
        return taken

    def _audit(self, decision: Decision, lease: Lease) -> None:
        """Writes down what is about to leave. Raises AuditUnavailable: then it does not, and costs nothing."""
        try:
            self._s.journal.sent(self._request, self._policy, decision, lease)
        except AuditUnavailable:
            if lease.reservation is not None:
                self._s.budgets.settle_later(lease.reservation, 0.0)
            raise

    async def _attempt(self, decision: Decision, lease: Lease, wire: Cycle) -> None:
        """One upstream, asked once. Faults of it leave here as UpstreamFault, booked with its circuit."""
        account, name = self._account, lease.candidate.upstream.name
        attempt = Attempt(name, token_hex(16), time.monotonic(), streamed=self._request.stream)
        account.attempts.append(attempt)
        if account.asked is None:
            account.asked = attempt.began
        ballot = self._watch(decision, lease, attempt)
        ending: Ending = "failed"
        try:
            broke = await self._exchange(decision, lease, attempt, wire)
            ending = ending_of(broke, self._request.deadline) if attempt.result != "passed_on" else "failed"
            if broke is None:
                self._books.answered(lease, attempt)
            else:
                self._books.fault(lease, attempt, broke)
        except UpstreamFault as fault:
            attempt.result = type(fault).__name__
            attempt.free = answers.retryable("managed", fault)
            if isinstance(fault, Refused):
                attempt.status = fault.status
            ending = ending_of(fault, self._request.deadline)
            self._books.fault(lease, attempt, fault)
            raise
        except asyncio.CancelledError:
            attempt.result, ending = (account.left, "left") if account.left else ("cancelled", "failed")
            raise
        finally:
            attempt.ended = time.monotonic()
            attempt.on_first = attempt.on_end = None  # they refer to us, and we to them
            self._s.telemetry.count_attempt(name, attempt.result)
            self._books.settle(lease, attempt)
            self._books.slo(decision, lease, attempt, ending)
            if ballot is not None:
                ballot.close(ending, account.usage)
            if attempt.result == "answered":
                self._books.teach(lease, attempt)

    def _watch(self, decision: Decision, lease: Lease, attempt: Attempt) -> Ballot | None:
        """What is done as the answer comes, and its vote. A method of its own, so that no board outlives it."""
        board = self._s.board_of(self._policy)
        left = work_left(lease.candidate.upstream, lease.candidate.ask.output_tokens)
        # From the first token on its worker only decodes for it: the lease gives back the work of the prompt.
        attempt.on_first = lambda: self._first(lease, attempt, left)
        # Before its client has the answer: one that asks again at once finds its place free.
        attempt.on_end = lambda: self._s.admission.release(lease)
        return self._books.ballot(board, decision, lease, attempt)

    def _first(self, lease: Lease, attempt: Attempt, left: int) -> None:
        self._s.admission.shrink(lease, left)
        self._books.began_well(lease, attempt)

    async def _exchange(self, decision: Decision, lease: Lease, attempt: Attempt, wire: Cycle) -> UpstreamFault | None:
        """Sends and relays. The fault of a stream that broke off after its first byte is told, not raised."""
        request, upstream, endpoint, given = self._request, lease.candidate.upstream, self._endpoint, self._call.headers
        removed = tuple(name for name in request.fields if action(decision.rule, upstream.kind, name) == "remove")
        self._account.removed = removed
        timeouts = self._timeouts(decision)
        attempt.free = False
        self._books.sent(lease, attempt)
        exchange = await self._s.client.send(
            decision.permit,
            self._policy,
            request.id,
            upstream,
            openai.target(upstream, request.endpoint),
            openai.headers(
                upstream,
                attempt.id,
                request.stream,
                request.traceparent,
                [(name, given[name]) for name in endpoint.headers if name in given],
            ),
            openai.body(
                self._fields,
                lease.candidate.served.name,
                stream=request.stream,
                want_usage=endpoint.asks_usage and not request.include_usage,
                removed=removed,
                defaults=endpoint.defaults,
            ),
            timeouts,
        )
        async with exchange:
            attempt.status = exchange.status
            self._books.told(lease, attempt, exchange.headers)
            if answers.meaning(exchange.status) != "answer":
                raise answers.refusal(exchange.status, exchange.headers, await relay.read_some(exchange))
            broke = await relay.relay(
                exchange,
                self._account,
                attempt,
                self._front,
                wire,
                most=self._s.settings.answer_bytes,
            )
        attempt.result = "answered" if exchange.status < 400 else "passed_on"
        if broke:
            attempt.result = CLIENT_STALLED if self._account.error == CLIENT_STALLED else "broke_off"
        attempt.free = attempt.result == "passed_on"
        return broke

    def _front(self) -> list[tuple[bytes, bytes]]:
        """Our response headers, made when the first byte is about to leave."""
        return [*identity(self._call), *self._account.headers()]

    def _timeouts(self, decision: Decision) -> Timeouts:
        timeouts, deadline = decision.rule.timeouts, self._request.deadline
        if deadline is None:
            return timeouts
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline passed before an upstream could be asked")
        others = sum(len(group.candidates) for group in (*decision.primary, *decision.overflow)) > 1
        last = not others or len(self._account.attempts) >= decision.rule.attempts
        return within(timeouts, left, self._account.forecast, stream=self._request.stream, last=last)
