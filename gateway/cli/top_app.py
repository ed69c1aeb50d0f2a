"""The terminal of `gateway top`. Needs textual."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable, Footer, Input, Static

from gateway.cli.top_asks import Confirm, Help
from gateway.cli.top_feed import Away, Line, Refused
from gateway.cli.top_text import FLEET, cells, head, matching, order, rules
from gateway.console.live.told import Told

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds before a lost feed is looked for again."""
WORKERS = "/admin/v1/workers"
COLUMNS = tuple(FLEET)
_STYLES = {
    "up": "green",
    "warming": "yellow",
    "asleep": "blue",
    "draining": "yellow",
    "drained": "magenta",
    "out": "red",
}
_WHY, _STATE = COLUMNS.index("why"), COLUMNS.index("state")


class Top(App[None]):
    """`fault` is why it ended by itself, if it did."""

    TITLE = "gateway top"
    CSS = """
    #head, #rules { height: auto; padding: 0 1; }
    #rules { max-height: 40%; overflow-y: auto; }
    #fleet { height: 1fr; }
    #filter { display: none; height: 3; }
    #filter.shown { display: block; }
    #away { display: none; padding: 0 1; background: $error; color: $text; }
    #away.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("d", "drain", "Drain"),
        ("u", "undrain", "Undrain"),
        ("slash", "filter", "Filter"),
        ("s", "sort", "Sort"),
        ("r", "reverse", "Reverse"),
        ("question_mark", "help", "Keys"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line, self.told = line, Told()
        self.fault: Refused | Away | None = None
        self._filter, self._sort, self._reverse = "", "", False
        self._cells: dict[str, tuple[str, ...]] = {}
        """What the table shows, by worker."""

    def compose(self) -> ComposeResult:
        yield Static(id="away")
        yield Static(id="head")
        yield DataTable(id="fleet", cursor_type="row", zebra_stripes=True)
        yield Static(id="rules")
        yield Input(placeholder="words in name, backend, state, why", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        for column, heading in FLEET.items():
            self._table.add_column(heading, key=column)
        self._table.focus()
        self.run_worker(self._follow(), exclusive=True)

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one("#fleet", DataTable)

    # The feed.

    async def _follow(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async for kind, data in self._line.events():
                    pause = FIRST_PAUSE
                    self._take(kind, data)
            except Away as fault:
                if not self.told.whole:
                    return self._end(fault)
                self._say(f"{fault}; it is tried again in {pause:g} s")
            except Refused as fault:
                return self._end(fault)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def _take(self, kind: str, data: Mapping[str, Any]) -> None:
        self.told.take(kind, data)
        self._say("")
        if kind == "fleet":
            self._show_fleet(whole=data["all"] or bool(data["gone"]))
        elif kind in ("flow", "latency"):
            self.query_one("#rules", Static).update(Text("\n".join(rules(self.told)), no_wrap=True))
        if kind != "fleet":
            self.query_one("#head", Static).update(Text("\n".join(head(self.told))))

    def _end(self, fault: Refused | Away) -> None:
        self.fault = fault
        self.exit()

    def _say(self, text: str) -> None:
        line = self.query_one("#away", Static)
        if line.has_class("shown") or text:
            line.update(Text(text))
            line.set_class(bool(text), "shown")

    # The table.

    def _show_fleet(self, *, whole: bool) -> None:
        """Cells that changed; all rows where some came or went. The cursor stays on its worker."""
        rows = {row["name"]: cells(row) for row in matching(self.told.rows.values(), self._filter)}
        if whole or rows.keys() != self._cells.keys():
            here = self.chosen
            self._table.clear()
            for name, row in rows.items():
                self._table.add_row(*map(_shown, range(len(row)), row), key=name)
            self._cells = rows
            self._sorted()
            if here is not None and here in rows:
                self._table.move_cursor(row=self._table.get_row_index(here))
            return
        for name, row in rows.items():
            before = self._cells[name]
            for place, value in enumerate(row) if row != before else ():
                if value != before[place]:
                    self._table.update_cell(name, COLUMNS[place], _shown(place, value))
        self._cells = rows
        self._sorted()

    def _sorted(self) -> None:
        if self._sort:
            self._table.sort(
                "name", key=lambda name: order(self.told.rows[str(name)], self._sort), reverse=self._reverse
            )

    @property
    def chosen(self) -> str | None:
        """The worker under the cursor."""
        if not self._cells:
            return None
        return self._table.coordinate_to_cell_key(self._table.cursor_coordinate).row_key.value

    @on(DataTable.HeaderSelected)
    def _sort_by(self, event: DataTable.HeaderSelected) -> None:
        column = event.column_key.value or ""
        self._reverse = column == self._sort and not self._reverse
        self._sort = column
        self._sorted()

    def action_sort(self) -> None:
        """By the next column."""
        after = COLUMNS.index(self._sort) + 1 if self._sort else 0
        self._sort, self._reverse = COLUMNS[after % len(COLUMNS)], False
        self._sorted()
        self.notify(f"sorted by {FLEET[self._sort]}", timeout=2)

    def action_reverse(self) -> None:
        self._sort, self._reverse = self._sort or COLUMNS[0], not self._reverse
        self._sorted()

    # The filter.

    def action_filter(self) -> None:
        shown = self.query_one("#filter", Input)
        shown.add_class("shown")
        shown.focus()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._filter = event.value
        self._show_fleet(whole=True)

    @on(Input.Submitted, "#filter")
    def _filter_done(self, event: Input.Submitted) -> None:
        event.input.set_class(bool(event.value), "shown")
        self._table.focus()

    # Orders.

    def action_drain(self) -> None:
        if (name := self.chosen) is not None:
            asked = Confirm(f"Drain {name}? It takes nothing new; what runs ends. Why? (Enter drains, Escape does not)")
            self.push_screen(asked, lambda why: self._ordered(name, "drain", why))

    def action_undrain(self) -> None:
        if (name := self.chosen) is not None:
            asked = Confirm(f"Let {name} take requests again? (Enter does, Escape does not)", reason=False)
            self.push_screen(asked, lambda why: self._ordered(name, "undrain", why))

    def action_help(self) -> None:
        self.push_screen(Help())

    def _ordered(self, name: str, what: str, why: str | None) -> None:
        if why is not None:
            self.run_worker(self._order(name, what, {"reason": why} if what == "drain" else None))

    async def _order(self, name: str, what: str, body: Mapping[str, Any] | None) -> None:
        try:
            await self._line.order(f"{WORKERS}/{name}/{what}", body)
        except (Refused, Away) as fault:
            self.notify(str(fault), severity="error", markup=False)
        else:
            self.notify(f"{name}: {what}ed", markup=False)


def _shown(place: int, value: str) -> Text:
    """Never as markup: a reason is somebody's own words."""
    return Text(value, _STYLES.get(value, "") if place == _STATE else "", justify="left" if place in _LEFT else "right")


_LEFT = frozenset({0, 1, _STATE, _WHY})
