"""An answer that is passed on piece by piece as it comes: sound, and pictures that are more than is held back.

Such bytes have no place for an error: one that breaks off is cut, so that its reader sees that it is not whole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.edge.account import CLIENT_STALLED, Account, Attempt
from gateway.edge.replies import Headers
from gateway.edge.wire import Wire
from gateway.errors import BadAnswer, ShuttingDown, UpstreamFailed, UpstreamFault, UpstreamTimeout
from gateway.upstreams.http1 import Exchange


class Passing:
    """The head waits for the first piece: until then another upstream can be asked. `seen` is shown every piece."""

    def __init__(
        self,
        exchange: Exchange,
        account: Account,
        attempt: Attempt,
        front: Callable[[], Headers],
        wire: Wire,
        seen: Callable[[bytes], None] = lambda piece: None,
    ) -> None:
        self._exchange, self._account, self._attempt, self._wire = exchange, account, attempt, wire
        self._front, self._seen = front, seen
        self._begun = False

    async def run(self, first: bytes = b"") -> UpstreamFault | None:
        """`first`: what came of it before, and was seen. Raises UpstreamFault while the client has nothing of it; gives
        back a later one."""
        broke: UpstreamFault | None = None
        try:
            if first:
                self._pass(first)
            await self._exchange.pour(self._push)
            if not self._begun:
                raise BadAnswer(f"answered {self._exchange.status} without a byte")
        except UpstreamFault as fault:
            if not self._begun:
                raise
            broke = fault.with_traceback(None)  # it leads back to this frame
            self._account.fail(UpstreamFailed(f"the answer broke off: {fault.message}"))
            if isinstance(fault, UpstreamTimeout) and fault.held:
                self._account.error = CLIENT_STALLED
        except asyncio.CancelledError:
            if self._begun and self._account.left is None:  # the process ends
                self._account.fail(ShuttingDown("the answer broke off"))
                self._wire.cut()
            raise
        finally:
            self._wire.on_room = None
        if self._attempt.on_end is not None:
            self._attempt.on_end()
        if broke is not None:
            self._wire.cut()
        else:
            self._account.last_byte = time.monotonic()
            self._wire.finish()
        return broke

    def _push(self, piece: bytes) -> None:
        """Runs while the upstream's bytes are read (a Sink)."""
        self._seen(piece)
        self._pass(piece)
        if self._wire.paused:
            self._hold()

    def _pass(self, piece: bytes) -> None:
        attempt = self._attempt
        attempt.last = time.monotonic()
        if self._begun:
            self._wire.write(piece)
            return
        if attempt.claim is not None:
            attempt.claim()
        attempt.first = self._account.first_byte = attempt.last
        if attempt.on_first is not None:
            attempt.on_first()
        self._wire.on_room = self._exchange.go_on
        self._wire.begin(self._exchange.status, self._front(), piece)
        self._begun = True

    def _hold(self) -> None:
        """The client is the slower one: the upstream waits for it."""
        if self._attempt.held_at is None:
            self._attempt.held_at = time.monotonic()
        self._exchange.hold()
