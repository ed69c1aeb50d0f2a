"""Reading from a client, held back or not; one that leaves meanwhile is heard all the same."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from gateway.edge.deadline import left

LOOK_SECONDS = 0.5
"""How often it is asked for whether a client is gone whose bytes are not read: a lease and a place in a line wait for
that."""


class Flow(FlowControl):
    """uvicorn's. While reading is paused the kernel is asked now and then; an end is then treated as one that is read.

    A reset is seen so, and an end that has arrived. One that stands behind bytes for which there is no room has not.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._timer: asyncio.TimerHandle | None = None

    def pause_reading(self) -> None:
        super().pause_reading()
        if self._timer is None:  # else an earlier pause has set it: an upload makes thousands
            self._look_later()

    def close(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self.read_paused or self._transport.is_closing():
            return
        if left(self._transport):
            self._transport.close()
        else:
            self._look_later()
