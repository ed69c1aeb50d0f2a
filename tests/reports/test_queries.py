"""Sums over a small ledger, by hand and by property; what is text stays text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import create_engine, delete

from gateway.errors import InvalidRequest, NoCapacity
from gateway.ledger.hours import Minute
from gateway.ledger.place import ledger_url
from gateway.ledger.tables import attempts, metadata
from gateway.model import Row
from gateway.reports.ask import Ask, Report
from gateway.reports.queries import GROUPS, MEASURES
from gateway.reports.reading import Reader, open_reading
from gateway.settings import Settings
from loadtests.ledgerbench.postgres import Postgres
from tests.ledger.reading import told
from tests.reports.books import DAY_US, HOUR_US, NOON, US, bought, insert, reader, row, stored, worker, written

SQL = "x'); DROP TABLE attempts; --"
MIDNIGHT = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp()) * US

LEDGER = [
    row("a1", tags=("team:a", "p")),
    row("a2", request="r-2", result="timeout", cost=None, payer="operator", basis="none"),
    bought("a3", request="r-2", tags=("team:a",), estimated=True),
    bought("a4", tenant="beta", key="k2", price_marks=("old",), ended=NOON + DAY_US),
    bought("a5", tenant="beta", cost=None, list_cost=None, reserved=9000, state="unreconciled", basis="reserved"),
    bought("a6", model="pic", images=3, input_tokens=0, output_tokens=0, cost=105_000, list_cost=None, tags=(SQL,)),
]


@pytest.fixture(scope="module")
def ledger(url: str) -> Reader:
    return stored(url, LEDGER)


def shown(report: Report, *names: str) -> list[tuple[object, ...]]:
    return [tuple(line[name] for name in (*report.by, *names)) for line in report.lines]


def test_the_total(ledger: Reader) -> None:
    total = ledger.report(Ask()).total
    assert {name: total[name] for name in total if total[name]} == {
        "requests": 5,
        "attempts": 6,
        "input_tokens": 5000,
        "output_tokens": 1000,
        "images": 3,
        "gpu_us": 154_000,
        "estimated": 1,
        "unreconciled": 1,
        "unpriced": 1,
        "marked": 1,
        "cost": 1000 + 0 + 400 + 400 + 9000 + 105_000,
        "list_cost": 1000 + 0 + 500 + 500 + 9000 + 105_000,
        "bought_cost": 114_800,
        "own_cost": 1000,
        "tenant_cost": 115_800,
        "estimated_cost": 400,
        "unreconciled_cost": 9000,
        "marked_cost": 400,
    }


BY = [
    (("tenant",), [("acme", 3, 106_400), ("beta", 2, 9400)]),
    (("tenant", "model"), [("acme", "m", 2, 1400), ("acme", "pic", 1, 105_000), ("beta", "m", 2, 9400)]),
    (("outcome",), [("local", 2, 1000), ("spilled", 4, 114_800)]),
    (("payer",), [("operator", 1, 0), ("tenant", 5, 115_800)]),
    (("day",), [("2026-11-20", 4, 115_400), ("2026-11-21", 1, 400)]),
    (("hour", "kind"), [
        ("2026-11-20T12:00Z", "local", 2, 1000),
        ("2026-11-20T12:00Z", "managed", 3, 114_400),
        ("2026-11-21T12:00Z", "managed", 1, 400),
    ]),
    (("tag",), [("", 3, 9400), ("p", 1, 1000), ("team:a", 2, 1400), (SQL, 1, 105_000)]),
]  # fmt: skip


@pytest.mark.parametrize(("by", "lines"), BY)
def test_by(ledger: Reader, by: tuple[str, ...], lines: list[tuple[object, ...]]) -> None:
    assert shown(ledger.report(Ask(by)), "requests", "cost") == lines


WHERE = [
    (Ask(where={"tenant": ("beta",)}), 9400),
    (Ask(where={"tenant": ("beta", "acme"), "model": ("pic",)}), 105_000),
    (Ask(where={"tenant": ("' OR 1=1 --",)}), 0),
    (Ask(tags=("team:a",)), 1400),
    (Ask(tags=("team:a", "p")), 1000),
    (Ask(tags=("team:%",)), 0),
    (Ask(tags=("TEAM:A",)), 0),
    (Ask(tags=("a",)), 0),
    (Ask(tags=(SQL,)), 105_000),
    (Ask(since=NOON + 1), 400),
    (Ask(until=NOON + DAY_US), 115_400),
    (Ask(since=NOON, until=NOON), 0),
    (Ask(where={"state": ("unreconciled",)}), 9000),
]


@pytest.mark.parametrize(("ask", "cost"), WHERE)
def test_filters(ledger: Reader, ask: Ask, cost: int) -> None:
    assert ledger.report(ask).total["cost"] == cost


def test_what_is_asked_changes_nothing(ledger: Reader) -> None:
    ledger.report(Ask(tags=(SQL,), where={"key": (SQL,)}))
    assert ledger.report(Ask()).total["attempts"] == 6
    with pytest.raises(NoCapacity), ledger.connected() as connection:
        connection.execute(delete(attempts))


STRANGE = [Ask(since=2**70), Ask(where={"tenant": ("\ud800",)}), Ask(tags=("\ud800",))]


@pytest.mark.parametrize("ask", STRANGE)
def test_what_the_ledger_cannot_hold_is_refused(ledger: Reader, ask: Ask) -> None:
    with pytest.raises(InvalidRequest):
        ledger.report(ask)


def test_a_clock_that_was_far_off_breaks_nothing(tmp_path: Path) -> None:
    odd = [row("a1"), row("a2", ended=0), row("a3", ended=2**62), row("a4", ended=-(2**62)), row("a5", ended=2**53)]
    ledger = reader(written(tmp_path, odd))
    assert ledger.span(Ask()) == (NOON, NOON)
    days = [line["day"] for line in ledger.report(Ask(("day", "hour"))).lines]
    assert days == ["0001-01-01", "1970-01-01", "2026-11-20", "2255-06-05", "9999-12-01"]
    assert len(ledger.attempts(Ask()).lines) == 5


def test_no_right_to_read_is_said_so(postgres: Postgres) -> None:
    url = ledger_url(Settings(ledger_url=SecretStr(postgres.create("granted"))))
    stored(url, [row("a1")])
    told(url, "CREATE ROLE stranger LOGIN")
    strange = reader(url.replace("gateway@", "stranger@"))
    with pytest.raises(NoCapacity, match="no right to read"):
        strange.report(Ask())
    told(url, "GRANT SELECT ON attempts, attempts_kept, fleet_hours TO stranger")
    assert (strange.report(Ask()).total["attempts"], strange.worker_hours(Ask())) == (1, [])


def test_what_stands_for_no_request_counts_as_none(tmp_path: Path) -> None:
    part = row("slice o a", request="", model="", cost=None, reserved=70, state="unreconciled", basis="reserved")
    total = reader(written(tmp_path, [row("a1"), part, replace(part, attempt="slice o b")])).report(Ask()).total
    assert (total["requests"], total["attempts"], total["unreconciled_cost"]) == (1, 3, 140)


def test_days_are_utc_days(tmp_path: Path) -> None:
    edge = [row("before", ended=MIDNIGHT - 1), row("at", ended=MIDNIGHT)]
    found = reader(written(tmp_path, edge)).report(Ask(("day",)))
    assert shown(found, "attempts") == [("2026-11-20", 1), ("2026-11-21", 1)]


def test_pages(ledger: Reader) -> None:
    first = ledger.report(Ask(("tag",), limit=3))
    rest = ledger.report(Ask(("tag",), limit=3, offset=3))
    assert (len(first.lines), first.more, len(rest.lines), rest.more) == (3, True, 1, False)
    assert first.total == rest.total


def test_single_attempts(ledger: Reader) -> None:
    found = ledger.attempts(Ask(where={"state": ("unreconciled",)}))
    (only,) = found.lines
    assert (only["attempt"], only["reserved"], only["cost"]) == ("a5", 9000, None)
    assert only["ended"] == "2026-11-20T12:00:00.000Z"
    page = ledger.attempts(Ask(limit=2))
    assert ([line["attempt"] for line in page.lines], page.more) == (["a4", "a1"], True)


def test_a_question_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    url = written(tmp_path, [row(f"a{n}") for n in range(5000)])
    hasty = Reader(open_reading(url), seconds=0.0)
    with pytest.raises(InvalidRequest, match="longer than 0 s"):
        hasty.report(Ask(("tenant", "model")))


def test_too_many_hours_of_workers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.reports.reading.MOST_WORKER_HOURS", 2)
    minutes = [Minute(60 * hour, [worker()]) for hour in range(3)]
    ledger = reader(written(tmp_path, [row("a1")], minutes))
    with pytest.raises(InvalidRequest, match="hours of workers"):
        ledger.worker_hours(Ask())
    assert len(ledger.worker_hours(Ask(until=2 * HOUR_US))) == 2


def test_no_ledger_yet(tmp_path: Path) -> None:
    with pytest.raises(NoCapacity):
        reader(f"sqlite:///{tmp_path / 'none.db'}").report(Ask())
    assert not (tmp_path / "none.db").exists()


ROWS = st.builds(
    replace,
    st.just(row("a")),
    tenant=st.sampled_from(["acme", "beta"]),
    model=st.sampled_from(["m", "pic"]),
    kind=st.sampled_from(["local", "managed"]),
    payer=st.sampled_from(["tenant", "operator"]),
    outcome=st.sampled_from(["local", "spilled", "fallback"]),
    cost=st.none() | st.integers(0, 10**15),
    list_cost=st.none() | st.integers(0, 10**15),
    reserved=st.integers(0, 10**12),
    input_tokens=st.integers(0, 10**9),
    images=st.integers(0, 100),
    gpu_us=st.integers(0, 10**12),
    estimated=st.booleans(),
    state=st.sampled_from(["settled", "unreconciled"]),
    tags=st.lists(st.text(max_size=6), max_size=2, unique=True).map(tuple),
    ended=st.integers(NOON - 3 * DAY_US, NOON + 3 * DAY_US),
)


@given(st.lists(ROWS, max_size=12), st.lists(st.sampled_from(sorted(GROUPS)), min_size=1, max_size=3, unique=True))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_grouping_adds_up_to_the_total(rows: list[Row], by: list[str]) -> None:
    """All but `requests`: one that was tried in two places is a request of both. Tags overlap, so each row has one."""
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    insert(engine, [replace(one, attempt=str(n), tags=one.tags[:1]) for n, one in enumerate(rows)])
    found = Reader(engine).report(Ask(tuple(by)))
    engine.dispose()
    assert {name: sum(line[name] for line in found.lines) for name in MEASURES if name != "requests"} == {
        name: found.total[name] for name in MEASURES if name != "requests"
    }
