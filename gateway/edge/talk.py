"""The one attempt of a realtime session: both handshakes, then `edge/session.py` until it is over.

The client's handshake is answered when the upstream has answered its own: until then another one can be asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from websockets.utils import accept_key

from gateway.edge import spans
from gateway.edge.account import Account, Attempt
from gateway.edge.booking import cost_of
from gateway.edge.cycle import Cycle
from gateway.edge.replies import Headers
from gateway.edge.services import Services
from gateway.edge.session import Bounds, Session
from gateway.errors import BudgetExceeded, GatewayError, ShuttingDown, UpstreamFault
from gateway.model import Lease, Timeouts, Usage
from gateway.upstreams import answers
from gateway.upstreams.dialects import openai
from gateway.upstreams.dialects.realtime import PLAIN_PROTOCOL, REALTIME, Offer, path_of
from gateway.upstreams.websocket import SWITCHING, UpstreamSocket

_HANDSHAKE = frozenset({b"content-type"})
"""Of a request with a body: a handshake has none."""


class Talk:
    """Of one request. `offer` and `key` are of the client's handshake, `headers` what it said."""

    def __init__(self, services: Services, offer: Offer, key: str, headers: Mapping[bytes, bytes]) -> None:
        self._s, self._offer, self._key, self._headers = services, offer, key, headers

    async def hold(
        self,
        lease: Lease,
        attempt: Attempt,
        account: Account,
        wire: Cycle,
        timeouts: Timeouts,
        front: Callable[[], Headers],
        on_open: Callable[[], None],
        limited: Callable[[Usage], GatewayError | None],
    ) -> UpstreamFault | None:
        """`limited`: why so much is more than its limits allow. Raises UpstreamFault as long as the client has no
        answer; that of a session is told."""
        upstream = await self._open(lease, attempt, account, timeouts)
        try:
            attempt.status = upstream.status
            if upstream.status != SWITCHING:
                self._pass_on(upstream, attempt, wire, front)
                return None
            on_open()
            attempt.usage = account.usage = Usage(0, 0)
            account.first_byte = time.monotonic()

            def spent(used: Usage) -> GatewayError | None:
                return _book(lease, attempt, account, used) or limited(used)

            ours = lease.candidate.upstream.kind == "local"
            session = Session(wire, upstream, self._bounds(), account.request.id, spent, ours=ours)
            end = await session.run([*self._accepted(upstream), *front()])
        except asyncio.CancelledError:
            if account.first_byte is not None and account.left is None:  # the process did not wait for its end
                account.fail(ShuttingDown())
            raise
        finally:
            upstream.close()
        account.last_byte = time.monotonic()
        if end.error is not None:
            account.fail(end.error)
        attempt.result = "answered" if end.fault is None else "broke_off"
        return end.fault

    async def _open(self, lease: Lease, attempt: Attempt, account: Account, timeouts: Timeouts) -> UpstreamSocket:
        one, request, given = lease.candidate, account.request, self._headers
        more = [(name, given[name]) for name in REALTIME.headers if name in given]
        more += spans.headers(request.trace, attempt, one.upstream)
        headers = openai.headers(one.upstream, attempt.id, False, more)
        return await self._s.client.converse(
            lease.decision.permit,
            lease.decision.policy,
            request.id,
            one.upstream,
            path_of(one.upstream, one.served.name, self._offer.query),
            [header for header in headers if header[0] not in _HANDSHAKE],
            self._offer.subprotocols,
            timeouts,
            self._s.settings.session_message_bytes,
        )

    def _pass_on(self, upstream: UpstreamSocket, attempt: Attempt, wire: Cycle, front: Callable[[], Headers]) -> None:
        """A refusal, where it is about the request."""
        if answers.meaning(upstream.status) != "answer" or upstream.status < answers.REFUSED:
            raise answers.refusal(upstream.status, upstream.headers, upstream.body)
        attempt.result, attempt.free = "passed_on", True
        down = [(name, value) for name, value in upstream.headers if name in openai.RESPONSE_HEADERS]
        wire.answer(upstream.status, [*down, *front()], upstream.body)

    def _bounds(self) -> Bounds:
        settings = self._s.settings
        return Bounds(settings.session_seconds, settings.session_idle_seconds, settings.session_message_bytes)

    def _accepted(self, upstream: UpstreamSocket) -> Headers:
        """Browsers that offer subprotocols close where none is chosen."""
        made = [(b"sec-websocket-accept", accept_key(self._key).encode())]
        chosen = upstream.subprotocol or (PLAIN_PROTOCOL if PLAIN_PROTOCOL in self._offer.subprotocols else None)
        if chosen is not None:
            made.append((b"sec-websocket-protocol", chosen.encode()))
        return made


def _book(lease: Lease, attempt: Attempt, account: Account, used: Usage) -> GatewayError | None:
    """Keeps what was used so far; why, where that is more than was set aside for it under a hard budget."""
    attempt.usage = account.usage = used
    if cost_of(lease, used).basis != "reserved":
        return None
    return BudgetExceeded("the session has used up what its budgets had set aside for it")
