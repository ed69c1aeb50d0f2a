"""Forward owns one request from its decision to the last byte: steps 3 to 12, and the only retry loop in the code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from msgspec import Raw

from gateway.edge.account import CLIENT_LEFT, CLIENT_STALLED, Account, left_of
from gateway.edge.asking import Asking
from gateway.edge.books import Books
from gateway.edge.calls import Call, Scope
from gateway.edge.cycle import WIRE, Cycle
from gateway.edge.delivered import Delivered
from gateway.edge.elsewhere import beside, on_alike, repeatable, rescuable
from gateway.edge.limits import Entry
from gateway.edge.race import Failed, Lane, Race
from gateway.edge.relay import end_broken
from gateway.edge.replies import Receive, Send, reply_error
from gateway.edge.services import Services
from gateway.edge.talk import Talk
from gateway.edge.upload import Upload
from gateway.edge.verdict import passed, verdict
from gateway.edge.witness import refused_in_audit
from gateway.errors import (
    AuditUnavailable,
    FleetSaturated,
    GatewayError,
    Incapable,
    InvalidRequest,
    NoCapacity,
    ResidencyRefused,
    ShuttingDown,
    UpstreamFailed,
    UpstreamFault,
)
from gateway.model import Decision, Demand, GenRequest, Lease, Role, Visit
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.forecast import Forecast
from gateway.routing.residency import strictest
from gateway.upstreams import answers
from gateway.upstreams.dialects.ordering import Picture

Faults = list[tuple[str, UpstreamFault]]
"""Upstreams that failed the request, and how."""


class Forward:
    """An ASGI response. Being its own, it can release in a `finally` that runs when the client leaves,
    whatever it waits for."""

    def __init__(
        self,
        services: Services,
        call: Call,
        request: GenRequest,
        fields: Mapping[str, Raw],
        board: Board,
        pictures: Sequence[Picture] = (),
        *,
        entered: bool = False,
        bound: str | None = None,
        upload: Upload | None = None,
        talk: Talk | None = None,
    ) -> None:
        """`pictures`: those that came with it, checked. `entered`: the limits of its caller have counted it already.
        `bound`: the upstream that has its order from before: nobody else can serve it.
        `upload`: the form that is sent along instead of a body; it is closed here. `talk`: it is a session."""
        request = services.prefixes.known(request)
        self._s, self._call, self._request, self._fields = services, call, request, fields
        self._policy = board.policy
        self._account = Account(request, self._policy.version, board.known(request.model), job=entered)
        self._books = Books(services, self._account)
        self._entry = Entry(services, request, counted=entered)
        self._bound = bound
        self._asking = Asking(services, call, fields, self._account, self._books, self._entry, pictures, upload, talk)
        self._upload, self._once = upload, upload is not None or talk is not None
        self._delivered: Delivered | None = None
        """What the client has of a stream that may be rescued."""
        self._hedged = False
        self._unable: dict[tuple[str, str], InvalidRequest] = {}
        self._kept = Demand()
        """What its newest decision demands of its data, and so every one before it."""

    @property
    def account(self) -> Account:
        return self._account

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every answer takes the short way, which never waits."""
        wire: Cycle = scope["extensions"][WIRE]
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI server runs applications in tasks
        wire.on_left = lambda: self._leave(task, wire)
        try:
            if wire.disconnected:
                self._leave(task, wire)
            await self._serve(wire)
        except asyncio.CancelledError:
            if self._account.left:
                task.uncancel()
            elif wire.job is not None:
                raise  # its runner knows why
            elif self._s.leaving.is_set():
                self._shut_down(wire)
            else:
                self._account.fail(GatewayError("unhandled"))
                raise
        except GatewayError as error:
            if self._account.first_byte is not None:
                self._end_broken(wire, error)
            else:
                self._refuse(wire, error)
        except Exception:
            self._account.fail(GatewayError("unhandled"))
            raise
        finally:
            wire.on_left = None
            if self._upload is not None:
                self._upload.close()
            self._entry.leave(sent=self._account.was_sent, usage=self._account.usage or self._account.counted)
            self._books.close()

    def _refuse(self, wire: Cycle, error: GatewayError) -> None:
        self._account.fail(error)
        refused_in_audit(self._s, self._request, self._policy, self._account.rule, error, self._kept)
        reply_error(wire, self._call, error, [*self._account.headers(), *self._entry.headers()])

    def _shut_down(self, wire: Cycle) -> None:
        """The process waits no longer (`cli/server.py`). What was begun has said so itself, but for a stream between
        two upstreams. Nobody knows what became of a paid attempt: it is not to be repeated."""
        if not wire.response_started:
            self._refuse(wire, ShuttingDown(retry=False if self._account.bought else None))
        elif self._going_on and self._account.error is None:
            end_broken(self._account, wire, ShuttingDown("the answer broke off"))

    def _leave(self, task: asyncio.Task[None], wire: Cycle) -> None:
        """A client that leaves cancels the wait for capacity as well as the stream."""
        self._account.left = CLIENT_STALLED if wire.stalled else CLIENT_LEFT
        task.cancel()

    async def _serve(self, wire: Cycle) -> None:
        """Decide, admit, send; after a fault that allows it once more without that upstream."""
        await self._entry.enter(self._s.board_of(self._policy))
        self._account.visit.uncounted = self._entry.uncounted
        self._s.retries.request()
        faults: Faults = []
        while True:
            lease = await self._admit(self._decide(faults), faults)
            try:
                if lease.decision.demand:
                    self._audit(lease, wire)
                failed = await self._ask(lease, faults, wire)
            finally:
                self._s.admission.end(lease)
            if not failed:
                if self._going_on:
                    outcome = "rescued" if self._account.error is None else "failed"
                    self._s.telemetry.count_rescue(lease.decision.rule.name, outcome)
                return
            failed = self._without_unable(failed)
            faults += [(one.candidate.upstream.name, fault) for one, fault in failed]
            if not failed:
                continue  # with those who can
            if self._account.first_byte is not None:
                self._break(*failed[-1])
            elif not self._may_retry(failed):
                last, fault = failed[-1]
                raise verdict(faults, last.candidate.upstream.kind, self._request.deadline) from fault

    def _without_unable(self, failed: Failed) -> Failed:
        """Who failed, but for those who cannot do what is asked: they are left out of the next decision, and their
        accounts at the same API with them."""
        left: Failed = []
        for lease, fault in failed:
            if not isinstance(fault, Incapable):
                left.append((lease, fault))
                continue
            upstream, name = lease.candidate.upstream, lease.candidate.served.name
            alike = self._policy.backends.get(upstream.backend, ()) if upstream.kind == "managed" else ()
            if self._account.first_byte is None:
                self._account.lease = None  # it was told nothing, so nothing was served there
            self._unable.update({(one.name, name): fault.why for one in (upstream, *alike)})
        return left

    def _decide(self, faults: Faults) -> Decision:
        first = not faults and not self._unable
        try:
            decision = self._again(faults)
        except GatewayError as error:
            if first:
                self._shadow(error)
            elif faults and isinstance(error, NoCapacity | FleetSaturated):
                raise verdict(faults, "local", self._request.deadline) from faults[-1][1]
            raise
        if first:
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

    def _again(self, faults: Faults) -> Decision:
        """The decision as things are now; of a stream that broke off, for the rest of it."""
        decision = self._newest(self._others(frozenset(name for name, _ in faults)))
        if self._going_on and self._account.lease is not None:
            decision = on_alike(decision, self._account.lease, self._request.endpoint, self._s.board_of(self._policy))
        self._account.decision = decision
        return decision

    def _others(self, failed: frozenset[str]) -> frozenset[str]:
        """Who may not serve it: those that failed it, and all but the one that has its order."""
        if self._bound is None:
            return failed
        return failed | (frozenset(self._s.board_of(self._policy).policy.upstreams) - {self._bound})

    def _newest(self, excluded: frozenset[str]) -> Decision:
        """The policy is the request's own, the snapshot the newest.

        Another rule may match than before, because a condition on the fleet does. Where the data may go is then settled
        all the same, and only gets stricter: from one attempt to the next, beside another one, and while it waits.
        """
        request, board = self._wanted, self._s.board_of(self._policy)
        self._policy = board.policy  # the same version, with the workers that were found meanwhile
        decision = decide(request, board, self._s.rng, excluded=excluded, unable=self._unable)
        if self._kept and strictest(decision.demand, self._kept) != decision.demand:
            bound = replace(request, residency=strictest(request.residency, self._kept))
            decision = decide(bound, board, self._s.rng, excluded=excluded, unable=self._unable)
        self._kept = decision.demand
        return decision

    async def _admit(self, decision: Decision, faults: Faults) -> Lease:
        rescue = Visit(uncounted=self._entry.uncounted, role="rescue") if self._going_on else None
        visit = rescue or self._account.visit
        try:
            lease = await self._s.admission.admit(self._wanted, decision, visit, lambda: self._again(faults))
        except (FleetSaturated, NoCapacity) as error:
            if faults and (isinstance(error, NoCapacity) or not decision.primary):
                raise verdict(faults, "local", self._request.deadline) from faults[-1][1]
            raise
        self._account.chose(lease, self._forecast(lease))
        return lease

    def _forecast(self, lease: Lease) -> Forecast:
        return self._s.calibration.forecast(self._s.board_of(self._policy), self._request, lease)

    def _may_retry(self, failed: Failed) -> bool:
        return (
            (self._upload is None or self._upload.repeatable)
            and all(answers.retryable(lease.candidate.upstream.kind, fault) for lease, fault in failed)
            and left_of(self._account.attempts, failed[-1][0].decision.rule.attempts) > 0
            and not passed(self._request.deadline)
            and self._afforded()
        )

    def _afforded(self) -> bool:
        """Takes a retry from the budget; False where it is used up."""
        taken = self._s.retries.take()
        self._s.telemetry.count_retry(taken)
        return taken

    @property
    def _going_on(self) -> bool:
        """Whether the client has the beginning of a stream that another worker is to end."""
        return self._delivered is not None and self._delivered.going_on

    @property
    def _wanted(self) -> GenRequest:
        """What is still to be done for the client."""
        return self._delivered.request() if self._delivered is not None and self._going_on else self._request

    def _break(self, lease: Lease, fault: UpstreamFault) -> None:
        """A stream broke off between two frames. Raises UpstreamFailed where nobody may go on with it."""
        delivered = self._delivered
        assert delivered is not None  # noqa: S101 - else its relay has said the end
        delivered.broke_off(fault)
        if not (
            rescuable(lease, fault, delivered)
            and left_of(self._account.attempts, lease.decision.rule.attempts) > 0
            and not passed(self._request.deadline)
            and self._afforded()
        ):
            raise UpstreamFailed(fault.message)

    def _end_broken(self, wire: Cycle, error: GatewayError) -> None:
        """Nobody goes on with the stream: what the client is told is how it broke."""
        why = error if self._delivered is None else self._delivered.fault or error
        end_broken(self._account, wire, UpstreamFailed(f"the answer broke off: {why.message}"))
        if self._account.rule is not None:
            self._s.telemetry.count_rescue(self._account.rule, "failed")

    def _audit(self, lease: Lease, wire: Cycle) -> None:
        """Writes down what is about to leave. Raises AuditUnavailable, and of a job whose results must not lie where
        they would ResidencyRefused: then it does not leave, and costs nothing."""
        try:
            if wire.job is not None:  # another rule may decide now than the one by which it was taken in
                wire.job.check(lease.decision.demand, lease.decision.policy)
            self._s.journal.sent(self._request, lease.decision.policy, lease.decision, lease)
        except (AuditUnavailable, ResidencyRefused):
            if lease.reservation is not None:
                self._s.budgets.settle_later(lease.reservation, 0)
            raise

    async def _ask(self, lease: Lease, faults: Faults, wire: Cycle) -> Failed:
        """The attempt under this lease, and where its rule says so one beside it."""
        if self._going_on:
            return await self._one(lease, wire, "rescue")
        rule = lease.decision.rule
        self._delivered = Delivered.of(self._request, self._fields) if rule.rescue and not self._once else None
        if rule.hedge is None:
            return await self._one(lease, wire)
        spare = left_of(self._account.attempts, rule.attempts) > 1
        allowed = not self._hedged and spare and not self._once and repeatable(self._request, rule)
        patience = self._s.hedges.patience(rule, lease.group.backend, self._request.stream) if allowed else None
        return await (self._one(lease, wire) if patience is None else self._race(lease, faults, wire, patience))

    async def _one(
        self,
        lease: Lease,
        wire: Cycle,
        role: Role = "asked",
        lane: Lane | None = None,
        forecast: Forecast | None = None,
    ) -> Failed:
        try:
            broke = await self._asking.ask(
                lease,
                wire,
                role=role,
                delivered=self._delivered,
                lane=lane,
                forecast=forecast or self._account.forecast,
            )
        except UpstreamFault as fault:
            return [(lease, fault.with_traceback(None))]  # the traceback leads back to this list
        kept = self._delivered is not None and self._delivered.left_open
        return [(lease, broke)] if broke is not None and kept else []

    async def _race(self, lease: Lease, faults: Faults, wire: Cycle, patience: float) -> Failed:
        """Past `patience` seconds without a first token a second attempt begins; the first of them to have one answers,
        and the other is cancelled. Where both fail, what may not be tried again comes last."""
        rule, forecast = lease.decision.rule, self._account.forecast
        race = Race()
        first = race.enter(lambda lane: self._first(lease, wire, lane, forecast))
        hedge, outcome = None, "left"
        try:
            if await race.look(first, patience):
                self._hedged = self._s.hedges.take(rule)
                if self._hedged:
                    hedge = race.enter(lambda lane: self._hedge(lease, faults, wire, lane))
                else:
                    self._s.telemetry.count_hedge(rule.name, "no_budget")
            failed = [one for each in await race.results() for one in each]
            if hedge is not None:
                outcome = "failed" if race.winner is None else "won" if race.winner is hedge else "lost"
        finally:
            await race.stop()
            if hedge is not None:
                self._s.telemetry.count_hedge(rule.name, outcome if hedge.asked else "no_room")
        return sorted(failed, key=lambda one: not answers.retryable(one[0].candidate.upstream.kind, one[1]))

    async def _first(self, lease: Lease, wire: Cycle, lane: Lane, forecast: Forecast | None) -> Failed:
        """The late one. Where it lost, its place is free at once: its winner may stream for minutes."""
        try:
            return await self._one(lease, wire, "asked", lane, forecast)
        finally:
            self._s.admission.end(lease)

    async def _hedge(self, late: Lease, faults: Faults, wire: Cycle, lane: Lane) -> Failed:
        """A second attempt beside the late one, if there is room for it now: it waits for nothing."""
        lease = None
        try:
            decision = beside(self._newest, late, [name for name, _ in faults], self._policy)
            visit = Visit(uncounted=self._entry.uncounted, role="hedge")
            lease = None if decision is None else await self._s.admission.take(self._request, decision, visit)
            if lease is None:
                return []
            lease = replace(lease, group=replace(lease.group, reason="hedged"))
            if lease.decision.demand:
                self._audit(lease, wire)
            return await self._one(lease, wire, "hedge", lane, self._forecast(lease))
        except GatewayError:
            return []  # the first attempt goes on without it
        finally:
            if lease is not None:
                self._s.admission.end(lease)
            if not lane.asked:
                self._s.hedges.give_back(late.decision.rule)
