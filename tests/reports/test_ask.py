"""What may be asked, and how what may not is refused."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidRequest
from gateway.reports import ask, queries
from gateway.reports.ask import Ask, ask_of

NOW = 1_795_348_800.5
DAY = 86_400 * 10**6
MIDNIGHT = 20_778 * DAY
"""2026-11-21."""

GOOD = [
    ([], Ask()),
    ([("by", "tenant,model"), ("by", "day, tenant")], Ask(("tenant", "model", "day"))),
    ([("from", "2026-11-21")], Ask(since=MIDNIGHT)),
    ([("to", "2026-11-21T01:00+01:00")], Ask(until=MIDNIGHT)),
    ([("to", "2026-11-21T00:00Z")], Ask(until=MIDNIGHT)),
    ([("from", "2d")], Ask(since=1_795_348_800_500_000 - 2 * DAY)),
    ([("tenant", "a"), ("tenant", "b"), ("tag", "x,y")], Ask(where={"tenant": ("a", "b")}, tags=("x,y",))),
    ([("limit", "5"), ("offset", "10")], Ask(limit=5, offset=10)),
]


@pytest.mark.parametrize(("given", "made"), GOOD)
def test_questions(given: list[tuple[str, str]], made: Ask) -> None:
    assert ask_of(given, NOW) == made


BAD = [
    ("by", "secret", "by: `secret` is none of tenant, key"),
    ("by", "tenant;DROP TABLE attempts", "is none of"),
    ("by", "tenant,key,model,backend,day,hour,tag", "by: more than 6 names"),
    ("frm", "2d", "frm: not known"),
    ("from", "yesterday", "from: a date"),
    ("from", "0d", "from: a date"),
    ("from", "999999d", "from: a date"),
    ("to", "2026-02-30", "to: a date"),
    ("limit", "0", "limit: a whole number from 1 to 10000"),
    ("limit", "-1", "limit: a whole number"),
    ("offset", "1e3", "offset: a whole number"),
    ("tenant", "a\0b", "tenant: holds a NUL"),
    ("tenant", "x" * 257, "tenant: longer than 256 characters"),
]


@pytest.mark.parametrize(("name", "value", "said"), BAD)
def test_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        ask_of([(name, value)], NOW)


@pytest.mark.parametrize("until", ["2026-11-01", "7d"])
def test_nothing_lies_between(until: str) -> None:
    with pytest.raises(InvalidRequest, match="from: is not before `to`"):
        ask_of([("from", "7d"), ("to", until)], NOW)


def test_no_end_of_values() -> None:
    with pytest.raises(InvalidRequest, match="more than 50 values"):
        ask_of([("tenant", "a")] * 51, NOW)


def test_the_words_are_those_of_the_queries() -> None:
    assert tuple(queries.GROUPS) == ask.GROUPED
    assert tuple(queries.MONEY) == ask.MONEY
