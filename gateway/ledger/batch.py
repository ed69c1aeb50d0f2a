"""What lies on the stream, as rows that can be stored, and what cannot even be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from gateway.ledger import hours
from gateway.ledger.inserting import Values
from gateway.ledger.tables import INDEXED, values
from gateway.model import Row

ROW, MINUTE, HOURS = b"row", b"minute", b"hours"
LARGEST = 2**53
"""Of any number: micro-dollars of nine billion, the year 2255; a thousand of them add up within BIGINT."""
_INDEXED = frozenset({"attempt", *INDEXED})
_NUL, _INSTEAD = "\0", "\N{REPLACEMENT CHARACTER}"
"""PostgreSQL takes no NUL in a text; SQLite would cut reports there."""


class Entry(NamedTuple):
    """One entry of the stream: its id, and its rows as JSON; or the workers of a minute, as JSON too."""

    id: bytes
    rows: tuple[bytes, ...]
    minute: bytes = b""
    workers: tuple[bytes, ...] = ()


class Refused(NamedTuple):
    """A row that is set aside, from which entry, and why."""

    id: bytes
    row: bytes
    why: str


class Batch(NamedTuple):
    """`rows` are what can be stored; `origins` tells for each of which entry and which bytes it is."""

    ids: tuple[bytes, ...]
    rows: tuple[Values, ...]
    origins: tuple[tuple[bytes, bytes], ...]
    refused: tuple[Refused, ...]
    minutes: tuple[hours.Minute, ...] = ()

    def and_refused(self, more: dict[int, str]) -> tuple[Refused, ...]:
        """Those, and the rows that the database refused by their place."""
        return self.refused + tuple(Refused(*self.origins[place], why) for place, why in more.items())


_row = msgspec.json.Decoder(Row)


def entry(id: bytes, fields: Sequence[bytes] | None) -> Entry:
    """Of a reply: names and values in turn; None where it was removed meanwhile."""
    pairs = list(zip(fields[::2], fields[1::2], strict=False)) if fields is not None else []
    rows, workers = (tuple(value for name, value in pairs if name == which) for which in (ROW, HOURS))
    return Entry(id, rows, dict(pairs).get(MINUTE, b""), workers)


def read(entries: Iterable[Entry]) -> Batch:
    ids, rows, origins, refused, minutes = [], [], [], [], []
    for each in entries:
        ids.append(each.id)
        for raw in each.rows:
            try:
                rows.append(_sound(_row.decode(raw)))
                origins.append((each.id, raw))
            except (msgspec.DecodeError, UnicodeError, OverflowError, ValueError) as fault:
                refused.append(Refused(each.id, raw, f"{type(fault).__name__}: {fault}"))
        for raw in each.workers:
            try:
                minutes.append(hours.minute(each.minute, raw))
            except (msgspec.MsgspecError, UnicodeError, ValueError) as fault:
                refused.append(Refused(each.id, raw, f"{type(fault).__name__}: {fault}"))
    return Batch(tuple(ids), tuple(rows), tuple(origins), tuple(refused), tuple(minutes))


def _sound(row: Row) -> Values:
    """Raises OverflowError, UnicodeError, ValueError."""
    found = values(row)
    for name, value in found.items():
        if isinstance(value, str):
            if not value.isprintable():
                found[name] = value.replace(_NUL, _INSTEAD)
                value.encode()
            if name in _INDEXED and hours.too_long(value):
                raise ValueError(f"{name} is longer than {hours.LONGEST} bytes")
        elif isinstance(value, int) and abs(value) > LARGEST:
            raise OverflowError(f"{name} is beyond 2^53")
    return found
