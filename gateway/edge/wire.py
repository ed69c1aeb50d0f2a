"""The client's end of an answer, as whoever relays it sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Wire(Protocol):
    """As `edge/cycle.py` has it."""

    on_room: Callable[[], None] | None

    @property
    def paused(self) -> bool: ...
    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None: ...
    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], piece: bytes) -> None: ...
    def write(self, piece: bytes) -> None: ...
    def finish(self) -> None: ...
    def cut(self) -> None: ...
