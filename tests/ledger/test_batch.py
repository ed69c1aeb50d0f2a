"""What lies on the stream is read row by row: one that cannot be does not take the others with it."""

from __future__ import annotations

import msgspec
import pytest

from gateway.ledger.batch import Entry, entry, read
from tests.ledger.rows import encoded, row

GOOD = encoded(row(1))[0]


def changed(**fields: object) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(GOOD), **fields})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'{"attempt":"x"}',
        b"\xff\xfe",
        changed(cost=1.5),
        changed(cost="1"),
        changed(reserved=2**53 + 1),
        changed(ended=2**62),
        changed(model="m" * 1025),
        changed(tenant="\u00e9" * 513),
        changed(ended=-(2**70)),
        changed(payer="nobody"),
        changed(state="lost"),
        changed(tags="a"),
    ],
)
def test_a_poison_row_is_set_aside_alone(raw: bytes) -> None:
    found = read([Entry(b"1-0", (GOOD, raw)), Entry(b"2-0", (GOOD,))])
    assert found.ids == (b"1-0", b"2-0")
    assert found.origins == ((b"1-0", GOOD), (b"2-0", GOOD))
    assert [(each.id, each.row) for each in found.refused] == [(b"1-0", raw)]
    assert found.refused[0].why


def test_fields_of_a_newer_gateway_are_left_out() -> None:
    assert len(read([Entry(b"1-0", (changed(more=1),))]).rows) == 1


def test_what_the_database_refuses_is_told_by_its_bytes() -> None:
    found = read([Entry(b"1-0", (b"{", GOOD)), Entry(b"2-0", (GOOD,))])
    assert [(each.id, each.row, each.why) for each in found.and_refused({1: "why"})][1:] == [(b"2-0", GOOD, "why")]


def test_entries_of_the_store() -> None:
    assert entry(b"1-0", [b"row", b"a", b"other", b"x", b"row", b"b"]) == Entry(b"1-0", (b"a", b"b"))
    assert entry(b"1-0", None) == Entry(b"1-0", ())
