"""The judge is content with what is right, and sees each way in which it is not."""

from __future__ import annotations

import pytest

from loadtests.jobsproof.judge import Booked, Evidence, Seen, holds


def seen(id: str, *, end: tuple[str, str] = ("completed", "")) -> Seen:
    film = {"digest of " + id} if end[0] == "completed" else set[str]()
    return Seen(id, "bare", f"film {id}", {id}, end, {(*end, 1.0)}, film, "digest of " + id, {f"try of {id}": "api"})


def good() -> Evidence:
    """Two films, and one of which nobody can tell whether it was bought."""
    ids = ("a", "b", "c")
    return Evidence(
        count=3,
        seen=[seen("a"), seen("b"), seen("c", end=("failed", "unknown_outcome"))],
        submits={f"film {id}": 1 for id in ids},
        bills={f"film {id}": 100 for id in ids},
        ledger={f"try of {id}": Booked(100, known=id != "c", managed=True) for id in ids},
        listed=frozenset({"c"}),
        left={"leases": 0},
        strays=0,
        kills=3,
        restarts=1,
    )


def spoil(run: Evidence, how: str) -> None:
    one, ledger = run.seen[0], dict(run.ledger)
    match how:
        case "lost":
            run.seen = run.seen[1:]
        case "open":
            one.first, one.last = ("in_progress", ""), {("in_progress", "", None)}
        case "turned":
            one.last = {("failed", "upstream_error", 1.0)}
        case "one process differs":
            one.last.add(("completed", "", 2.0))
        case "two for one key":
            one.ids.add("d")
        case "film":
            one.digests = {"another"}
        case "no film":
            one.digests = set()
        case "one film of three":
            one.digests.add("another")
        case "twice":
            run.submits = {**run.submits, "film a": 2}
        case "nobody's":
            run.submits = {**run.submits, "film x": 1}
        case "not told":
            run.listed = frozenset()
        case "no row":
            del ledger["try of a"]
        case "short":
            ledger["try of c"] = Booked(99, known=False, managed=True)
        case "differs":
            ledger["try of a"] = Booked(101, known=True, managed=True)
        case "nothing known":
            ledger = {name: row._replace(known=False) for name, row in ledger.items()}
        case "lease":
            run.left = {"leases": 1}
        case "stray":
            run.strays = 1
        case "no kills":
            run.kills = 0
        case "no restart":
            run.restarts = 0
        case "wrong":
            run.wrong = ["1 x GET answered 500"]
    run.ledger = ledger


def test_it_is_content_with_what_is_right() -> None:
    assert holds(good())


WAYS = """lost, open, turned, one process differs, two for one key, film, no film, one film of three, twice, nobody's,
not told, no row, short, differs, nothing known, lease, stray, no kills, no restart, wrong"""


@pytest.mark.parametrize("how", [way.strip() for way in WAYS.split(",")])
def test_it_sees(how: str) -> None:
    run = good()
    spoil(run, how)
    assert not holds(run)
