"""One upstream, asked once, under a lease that its caller holds: sent, relayed, and booked whatever came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from secrets import token_hex

from msgspec import Raw

from gateway.edge import relay, spans
from gateway.edge.account import BAD_UPLOAD, CANCELLED, CLIENT_STALLED, LOST, RESCUED, Account, Attempt, left_of
from gateway.edge.ballot import Ballot, ending_of
from gateway.edge.books import Books
from gateway.edge.calls import Call
from gateway.edge.cycle import Cycle
from gateway.edge.delivered import Delivered
from gateway.edge.elsewhere import engine_of, sayable
from gateway.edge.filling import Filling
from gateway.edge.limits import Entry
from gateway.edge.patience import meant, within
from gateway.edge.race import Lane, Lost
from gateway.edge.replies import identity
from gateway.edge.services import Services
from gateway.edge.talk import Talk
from gateway.edge.upload import Sending, Upload
from gateway.edge.wire import JobEnd
from gateway.errors import (
    ConnectFailed,
    DeadlineExceeded,
    GatewayError,
    Incapable,
    NotContinued,
    Refused,
    UpstreamFault,
)
from gateway.model import Lease, Role, Timeouts
from gateway.money.spending import ATTEMPT_ID_BYTES
from gateway.routing.capability import asked_at
from gateway.routing.estimate import work_left
from gateway.routing.fields import action
from gateway.routing.forecast import Forecast
from gateway.routing.votes import Ending
from gateway.upstreams import answers
from gateway.upstreams.dialects import forms, media_endpoints, openai
from gateway.upstreams.dialects.ordered import dialect_of
from gateway.upstreams.dialects.ordering import Dialect, Picture
from gateway.upstreams.dialects.surface import ENDPOINTS
from gateway.upstreams.dialects.translate.table import Translation, headers_up
from gateway.upstreams.dialects.workers import fields as worker_fields
from gateway.upstreams.http1 import Exchange, Source, freely


class Asking:
    """Of one request. `Forward` says whom, and when."""

    def __init__(
        self,
        services: Services,
        call: Call,
        fields: Mapping[str, Raw],
        account: Account,
        books: Books,
        entry: Entry,
        pictures: Sequence[Picture] = (),
        upload: Upload | None = None,
        talk: Talk | None = None,
    ) -> None:
        self._s, self._call, self._fields, self._entry = services, call, fields, entry
        self._account, self._books, self._request = account, books, account.request
        self._endpoint = ENDPOINTS[self._request.endpoint]
        self._pictures = pictures
        self._upload, self._talk = upload, talk
        self._sending: Sending | None = None
        """What is sent of it now."""
        if upload is not None:
            account.sound = upload.seconds

    async def ask(
        self,
        lease: Lease,
        wire: Cycle,
        *,
        role: Role = "asked",
        delivered: Delivered | None = None,
        lane: Lane | None = None,
        forecast: Forecast | None = None,
    ) -> UpstreamFault | None:
        """Raises the fault of an upstream before the client has seen anything of it, booked with its circuit. That of a
        stream which broke off later is told. `lane`: another one is asked at the same time; `forecast` is of this one.
        Raises Lost where the other one was faster, and DeadlineExceeded.
        """
        account, name, id = self._account, lease.candidate.upstream.name, attempt_id(lease)
        if wire.job is not None:
            id, lease = await self._kept(id, lease, wire.job, role)
        attempt = Attempt(
            name,
            id,
            time.monotonic(),
            streamed=self._request.stream,
            span=spans.new_span(self._request.trace),
            role=role,
            lease=lease,
            forecast=None if self._talk is not None else forecast,
        )
        account.attempts.append(attempt)
        if account.asked is None:
            account.asked = attempt.began
        if lane is not None:
            lane.asked = True
            attempt.claim = lambda: self._claim(lane, lease, forecast)
        ballot = self._watch(lease, attempt)
        ending: Ending = "failed"
        try:
            broke = await self._exchange(lease, attempt, wire, delivered)
            ending = ending_of(broke, self._request.deadline) if attempt.result != "passed_on" else "failed"
            if broke is None:
                self._books.answered(lease, attempt)
            else:
                self._books.fault(lease, attempt, broke)
            return broke
        except UpstreamFault as fault:
            attempt.result = type(fault).__name__
            attempt.free = answers.unpaid(fault)
            attempt.unreached = isinstance(fault, Incapable) or (
                isinstance(fault, ConnectFailed) and fault.reason == ConnectFailed.UNREACHABLE
            )
            if isinstance(fault, Refused):
                attempt.status = fault.status
            ending = "left" if isinstance(fault, Incapable) else ending_of(fault, self._request.deadline)
            self._books.fault(lease, attempt, fault)
            raise
        except GatewayError:
            if self._partial(attempt):
                attempt.result, ending = BAD_UPLOAD, "left"
            raise
        except (asyncio.CancelledError, Lost):
            attempt.result, ending = self._why_cancelled(lane)
            raise
        finally:
            self._settle(lease, attempt, ballot, ending)

    async def _kept(self, id: str, lease: Lease, job: JobEnd, role: Role) -> tuple[str, Lease]:
        """An attempt whose money outlives this process: a new one, or one that another process began. Raises
        StoreFault: then nothing may be sent."""
        begun, spending = job.attempt(lease.candidate.upstream), self._s.admission.spending
        if spending is None:
            return begun or id, lease
        if begun is not None:
            return begun, await spending.adopt(begun, lease)
        return id, await spending.keep(job.name, id, self._request, lease, role)

    def _why_cancelled(self, lane: Lane | None) -> tuple[str, Ending]:
        """One that lost votes as one whose client left: a first token that was late already is a miss, nothing else
        is."""
        if lane is not None and lane.lost:
            return LOST, "left"
        return (self._account.left, "left") if self._account.left else (CANCELLED, "failed")

    def _partial(self, attempt: Attempt) -> bool:
        """Whether its upload broke off: nobody works on half a form."""
        return self._sending is not None and not self._sending.whole and attempt.status is None

    def _settle(self, lease: Lease, attempt: Attempt, ballot: Ballot | None, ending: Ending) -> None:
        attempt.ended = time.monotonic()
        attempt.free = attempt.free or self._partial(attempt)
        attempt.on_first = attempt.on_end = attempt.claim = None  # they refer to us, and we to them
        self._s.telemetry.count_attempt(attempt.upstream, attempt.result)
        self._books.settle(lease, attempt)
        if self._talk is None:  # a conversation is as long as it is, and teaches nothing
            self._learn(lease, attempt, ballot, ending)

    def _learn(self, lease: Lease, attempt: Attempt, ballot: Ballot | None, ending: Ending) -> None:
        self._books.slo(lease.decision, lease, attempt, ending)
        if ballot is not None:
            ballot.close(ending, attempt.usage)
        self._books.first_token(lease, attempt)
        if attempt.result == "answered":
            self._books.teach(lease, attempt)

    def _claim(self, lane: Lane, lease: Lease, forecast: Forecast | None) -> None:
        """The client is about to be answered by this one."""
        lane.claim()
        self._account.chose(lease, forecast)
        self._account.removed = self._removed(lease)

    def _watch(self, lease: Lease, attempt: Attempt) -> Ballot | None:
        """What is done as the answer comes, and its vote. A method of its own, so that no board outlives it."""
        board = self._s.board_of(lease.decision.policy)
        left = work_left(lease.candidate.upstream, lease.candidate.ask)
        # From the first token on its worker only decodes for it: the lease gives back the work of the prompt.
        attempt.on_first = lambda: self._first(lease, attempt, left)
        # Before its client has the answer: one that asks again at once finds its place free.
        attempt.on_end = lambda: self._s.admission.release(lease)
        if self._talk is not None:
            return None
        return self._books.ballot(board, lease.decision, lease, attempt)

    def _first(self, lease: Lease, attempt: Attempt, left: int) -> None:
        self._s.admission.shrink(lease, left)
        self._books.began_well(lease, attempt)

    async def _exchange(
        self, lease: Lease, attempt: Attempt, wire: Cycle, delivered: Delivered | None
    ) -> UpstreamFault | None:
        """Sends and relays. The fault of a stream that broke off after its first byte is told, not raised."""
        if attempt.role != "hedge":
            self._account.removed = self._removed(lease)
        dialect = self._dialect(lease)
        if dialect is not None:
            filling = Filling(self._s, self._fields, self._account, self._books, self._front, self._pictures)
            with sayable(attempt):
                await filling.fill(lease, attempt, wire, dialect, removed=self._removed(lease))
            return None
        with sayable(attempt):
            self._check(lease)
        translation = self._translation(lease)
        if translation is not None:
            attempt.asked_at = translation.spoken.name
            if delivered is not None and delivered.going_on:
                raise NotContinued("speaks another API's words: it cannot go on with a stream")
            delivered = None  # nobody else could go on with it
        if self._talk is not None:
            return await self._converse(self._talk, lease, attempt, wire)
        with sayable(attempt):
            body = self._body(lease, delivered, translation)
        if wire.job is not None:  # behind all that can still refuse it: an intent says that it may have left
            await wire.job.log(attempt.id, lease.candidate.upstream).intent()
        timeouts = self._timeouts(lease, attempt)
        attempt.free = False
        self._books.sent(lease, attempt)
        async with await self._send(lease, attempt, timeouts, body, translation, wire.job) as exchange:
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
                delivered=delivered,
                translation=translation,
            )
        attempt.result = "answered" if exchange.status < 400 else "passed_on"
        if attempt.role == "rescue":
            attempt.result = RESCUED
        if broke:
            attempt.result = CLIENT_STALLED if self._account.error == CLIENT_STALLED else "broke_off"
        attempt.free = attempt.result == "passed_on"
        return broke

    async def _converse(self, talk: Talk, lease: Lease, attempt: Attempt, wire: Cycle) -> UpstreamFault | None:
        timeouts = self._timeouts(lease, attempt)
        attempt.free = False
        self._books.sent(lease, attempt)
        opened = partial(self._books.began_well, lease, attempt)
        return await talk.hold(lease, attempt, self._account, wire, timeouts, self._front, opened, self._entry.beyond)

    def _check(self, lease: Lease) -> None:
        """Raises InvalidRequest for what is not to be said to a worker of ours."""
        if self._request.media is not None and lease.candidate.upstream.kind == "local":
            worker_fields.check(self._endpoint.name, self._engine(lease), self._fields, self._removed(lease))

    def _dialect(self, lease: Lease) -> Dialect | None:
        """None: it takes the caller's body as it is. Only media are ordered."""
        if self._request.media is None:
            return None
        return dialect_of(lease.candidate.upstream, self._endpoint.name, self._engine(lease))

    def _engine(self, lease: Lease) -> str | None:
        return engine_of(lease.candidate, self._s.board_of(lease.decision.policy))

    def _translation(self, lease: Lease) -> Translation | None:
        """None where the upstream speaks the caller's own words."""
        request = self._request
        if request.reworded is None:
            return None
        if asked_at(lease.candidate.upstream, request.endpoint, self._engine(lease)) in (request.endpoint, None):
            return None
        return Translation(request, self._fields, request.reworded, int(time.time()))

    async def _send(
        self,
        lease: Lease,
        attempt: Attempt,
        timeouts: Timeouts,
        body: tuple[bytes, bytes | Source],
        translation: Translation | None,
        job: JobEnd | None,
    ) -> Exchange:
        request, upstream = self._request, lease.candidate.upstream
        endpoint = self._endpoint if translation is None else translation.spoken
        return await self._s.client.send(
            lease.decision.permit,
            lease.decision.policy,
            request.id,
            upstream,
            openai.target(upstream, endpoint.name),
            openai.headers(
                upstream,
                attempt.id,
                request.stream,
                [*headers_up(endpoint, upstream, self._call.headers), *spans.headers(request.trace, attempt, upstream)],
                body[0],
                endpoint.accepts,
            ),
            body[1],
            timeouts,
            may_send=freely if job is None else job.may_send,
        )

    def _body(
        self, lease: Lease, delivered: Delivered | None, translation: Translation | None
    ) -> tuple[bytes, bytes | Source]:
        """What goes up, and its content type. Raises InvalidRequest where it cannot be translated."""
        request, endpoint, name = self._request, self._endpoint, lease.candidate.served.name
        if self._upload is not None:
            self._sending = source = self._upload.source(name, self._removed(lease))
            return source.content_type, source
        if endpoint.forms:
            fields = {**self._defaults(lease), **self._fields}
            texts, files = media_endpoints.parts(fields, self._pictures, name, self._removed(lease))
            return forms.form(texts, files)
        if translation is not None:
            return openai.JSON, self._translated(lease, translation)
        going_on = delivered is not None and delivered.going_on
        return openai.JSON, openai.body(
            delivered.body() if delivered is not None and going_on else self._fields,
            name,
            stream=request.stream,
            want_usage=endpoint.asks_usage and not request.include_usage,
            removed=self._removed(lease),
            defaults=self._defaults(lease),
        )

    def _translated(self, lease: Lease, translation: Translation) -> bytes:
        cap = lease.decision.policy.models[self._request.model].output_cap
        return openai.body(
            translation.body(lease.candidate.upstream, cap),
            lease.candidate.served.name,
            stream=self._request.stream,
            want_usage=translation.spoken.asks_usage,
            removed=self._removed(lease),
        )

    def _defaults(self, lease: Lease) -> Mapping[str, Raw]:
        """Where money is set aside for an output that the caller does not bound, the bound that it was set aside for
        goes up too."""
        endpoint, request = self._endpoint, self._request
        if request.media is not None:
            return {**endpoint.defaults, **media_endpoints.defaults(endpoint.name, self._engine(lease))}
        if lease.hold is None or request.max_tokens is not None or endpoint.cap is None:
            return endpoint.defaults
        cap = lease.decision.policy.models[request.model].output_cap
        # The older name is the one that every engine knows.
        name = endpoint.caps[-1] if lease.candidate.upstream.kind == "local" else endpoint.cap
        return endpoint.defaults if cap is None else {**endpoint.defaults, name: Raw(b"%d" % cap)}

    def _removed(self, lease: Lease) -> tuple[str, ...]:
        rule, kind = lease.decision.rule, lease.candidate.upstream.kind
        return tuple(name for name in self._request.fields if action(rule, kind, name) == "remove")

    def _front(self) -> list[tuple[bytes, bytes]]:
        """Our response headers, made when the first byte is about to leave."""
        return [*identity(self._call), *self._account.headers(), *self._entry.headers()]

    def _timeouts(self, lease: Lease, attempt: Attempt) -> Timeouts:
        decision, deadline = lease.decision, self._request.deadline
        timeouts = meant(decision.rule, self._endpoint)
        if deadline is None:
            return timeouts
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline passed before an upstream could be asked")
        others = sum(len(group.candidates) for group in (*decision.primary, *decision.overflow)) > 1
        last = not others or left_of(self._account.attempts, decision.rule.attempts) <= 0
        return within(timeouts, left, attempt.forecast, stream=self._request.stream, last=last)


def attempt_id(lease: Lease) -> str:
    """That of what it holds, under which the ledger finds it should this gateway die."""
    return token_hex(ATTEMPT_ID_BYTES) if lease.hold is None else lease.hold.id
