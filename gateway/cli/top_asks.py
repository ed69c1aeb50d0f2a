"""What `gateway top` asks before it acts, and its keys."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label

_CSS = """
    align: center middle;
    & > Vertical { width: 80; max-width: 95%; height: auto;
        padding: 1 2; background: $surface; border: round $primary; }
"""
KEYS = """\
d         drain the worker under the cursor: it takes nothing new, what runs ends
u         undrain it
/         filter: words in name, backend, state, why; Enter goes back to the table
s  r      sort by the next column; the other way round (or click a heading)
?  q      these keys; quit"""


class Confirm(ModalScreen[str | None]):
    """Gives the reason (empty where none is asked for), or None where it is not to be done."""

    CSS = f"Confirm {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "cancel", "No"), ("enter", "agree", "Yes")]

    def __init__(self, question: str, *, reason: bool = True) -> None:
        super().__init__()
        self._question, self._reason = question, reason

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(self._question, markup=False)
            if self._reason:
                yield Input(placeholder="reason", max_length=200)

    def action_cancel(self) -> None:
        self.dismiss(None)

    def action_agree(self) -> None:
        self.dismiss("")

    @on(Input.Submitted)
    def _given(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value)


class Help(ModalScreen[None]):
    CSS = f"Help {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [("escape,enter,q,question_mark", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label(KEYS, markup=False)
