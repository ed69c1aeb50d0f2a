"""One attempt at an upstream that takes orders: placed, looked at until it is done, its results handed on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Raw

from gateway.edge import spans
from gateway.edge.account import Account, Attempt
from gateway.edge.booking import cost_of
from gateway.edge.books import Books
from gateway.edge.filled import answer
from gateway.edge.ordering import order_of, used
from gateway.edge.patience import meant
from gateway.edge.replies import JSON, Headers
from gateway.edge.services import Services
from gateway.edge.wire import JobEnd, Wire
from gateway.errors import DeadlineExceeded, OrderLost, Refused
from gateway.model import Lease, Timeouts, Upstream, Usage
from gateway.upstreams import missing
from gateway.upstreams.desk import ClientDesk
from gateway.upstreams.dialects.ordering import Answer, Dialect, Order, Picture
from gateway.upstreams.dialects.surface import ENDPOINTS, restated
from gateway.upstreams.http1 import freely
from gateway.upstreams.orders import UNLOGGED, NotTaken, Patience, fill
from gateway.upstreams.results import Results, whole

QUEUED_SECONDS = 120.0
"""Where the rule says nothing: how long a bought API may not begin an order. At our own workers it waits behind others
whose leases we know, as long as they take."""
TROUBLE_SECONDS: Mapping[str, float] = {"local": 15.0, "managed": 120.0}
"""How long every look may fail. A worker that is gone so long was restarted: its jobs went with its process."""
_LOOPBACK = ("127.0.0.1", "localhost")


class Filling:
    """Of one request, as `Asking` is."""

    def __init__(
        self,
        services: Services,
        fields: Mapping[str, Raw],
        account: Account,
        books: Books,
        front: Callable[[], Headers],
        pictures: Sequence[Picture] = (),
    ) -> None:
        self._s, self._fields, self._front, self._pictures = services, fields, front, pictures
        self._account, self._books, self._request = account, books, account.request

    async def fill(
        self, lease: Lease, attempt: Attempt, wire: Wire, dialect: Dialect, *, removed: Sequence[str] = ()
    ) -> None:
        """Raises UpstreamFault as long as the client has nothing, InvalidRequest for what this upstream cannot do: then
        nothing was sent. And DeadlineExceeded."""
        upstream, job = lease.candidate.upstream, wire.job
        attempt.streamed = False
        ticket = None if job is None else job.ticket(upstream)
        if ticket is not None:  # it was placed before: it may cost something whatever becomes of it here
            attempt.free = False
            self._books.sent(lease, attempt)
        order = self._order(lease, attempt, removed)
        patience = self._patience(lease)
        desk = self._desk(lease, attempt, patience.until, job)
        log = UNLOGGED if job is None else job.log(attempt.id, upstream)
        try:
            told = await fill(desk, dialect, upstream, order, patience=patience, ticket=ticket, log=log)
        except NotTaken as refusal:
            self._pass_on(lease, attempt, wire, refusal.answer)
            return
        if attempt.on_end is not None:
            attempt.on_end()
        attempt.usage = usage = used(order, told, lease.candidate.served.offer)
        attempt.tokens = usage.output_tokens
        results = Results(desk, told.pieces, self._hosts(dialect, upstream), allow_private=upstream.simulated)
        if job is None:
            await self._answer(lease, attempt, wire, order, results)
        else:
            await job.take(usage, results)
            self._answered(lease, attempt)
        attempt.result, attempt.status = "answered", 200

    def _order(self, lease: Lease, attempt: Attempt, removed: Sequence[str]) -> Order:
        """Its mark is the attempt's: two attempts of one request at one API must not find each other's order."""
        fields = {name: value for name, value in self._fields.items() if name not in removed}
        return order_of(self._request, fields, self._pictures, lease.candidate.served, attempt.id)

    def _patience(self, lease: Lease) -> Patience:
        kind, timeouts = lease.candidate.upstream.kind, self._timeouts(lease)
        now, deadline = time.monotonic(), self._request.deadline
        if deadline is not None and deadline <= now:
            raise DeadlineExceeded("the deadline passed before an upstream could be asked")
        queued = QUEUED_SECONDS if timeouts.queued is None and kind == "managed" else timeouts.queued
        until = now + timeouts.order
        return Patience(
            until=until if deadline is None else min(until, deadline), queued=queued, trouble=TROUBLE_SECONDS[kind]
        )

    def _timeouts(self, lease: Lease) -> Timeouts:
        return meant(lease.decision.rule, ENDPOINTS[self._request.endpoint])

    def _desk(self, lease: Lease, attempt: Attempt, until: float, job: JobEnd | None) -> ClientDesk:
        decision, request = lease.decision, self._request

        def leaves() -> None:
            if attempt.free:
                attempt.free = False
                self._books.sent(lease, attempt)

        return ClientDesk(
            client=self._s.client,
            permit=decision.permit,
            policy=decision.policy,
            request=request.id,
            attempt=attempt.id,
            upstream=lease.candidate.upstream,
            timeouts=self._timeouts(lease),
            until=until,
            most=self._s.settings.result_bytes,
            trace=spans.headers(request.trace, attempt, lease.candidate.upstream),
            seen=None if request.trace is None or request.trace.span is None else partial(spans.called, attempt),
            leaves=leaves,
            may_send=freely if job is None else job.may_send,
            heard=lambda headers: self._books.told(lease, attempt, headers),
        )

    def _hosts(self, dialect: Dialect, upstream: Upstream) -> tuple[str, ...]:
        return (*dialect.hosts, *upstream.artefact_hosts, *(_LOOPBACK if upstream.simulated else ()))

    def _pass_on(self, lease: Lease, attempt: Attempt, wire: Wire, answer: Answer) -> None:
        """A 4xx about the request is its caller's, as everywhere; one about the model that a worker should have is
        not."""
        local, name = lease.candidate.upstream.kind == "local", lease.candidate.served.name
        if local and missing.names_missing_model(answer.status, answer.body, name):
            raise Refused(answer.status, f"has no model `{name}`", code=missing.MODEL_MISSING)
        self._claim(attempt)
        body = restated(f"/v1/{self._request.endpoint}", answer.status, answer.body) or answer.body
        attempt.result, attempt.status, attempt.free = "passed_on", answer.status, True
        wire.answer(answer.status, [*JSON, *self._front()], body)

    async def _answer(self, lease: Lease, attempt: Attempt, wire: Wire, order: Order, results: Results) -> None:
        made = [(opened.media_type, data) for opened, data in await results.each(whole)]
        if not made:
            raise OrderLost("the order succeeded without a result")
        told, stream = attempt.usage or Usage(0, 0), self._request.stream
        kind, body = answer(order, made, told, stream=stream, now=int(time.time()))
        self._claim(attempt)
        self._answered(lease, attempt)
        wire.answer(200, [(b"content-type", kind.encode("latin-1")), *self._front()], body)

    def _claim(self, attempt: Attempt) -> None:
        if attempt.claim is not None:
            attempt.claim()

    def _answered(self, lease: Lease, attempt: Attempt) -> None:
        account = self._account
        account.first_byte = account.last_byte = attempt.last = time.monotonic()
        account.usage = attempt.usage
        if attempt.usage is not None:
            account.book(attempt, cost_of(lease, attempt.usage))
