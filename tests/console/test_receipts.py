"""Receipts of all tenants, searched by operators."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.console import receipts as searching
from gateway.console.receipts import PAGE, Search, find, read, told
from gateway.errors import InvalidRequest
from gateway.receipts import Place, Receipts
from gateway.store.connection import Store
from tests.worlds import policy

NUMBER = 30


def receipt(number: int) -> dict[str, Any]:
    outcome = "spilled" if number % 3 == 0 else "local"
    made = {"id": f"r{number}", "time": 1.0, "tenant": f"t{number % 2}", "outcome": outcome, "residency": []}
    attempts = [{"upstream": "w1", "result": "answered", "status": 200, "at_ms": 0.0, "took_ms": 1.0}]
    return made | {"attempts": attempts, "rule": "chat", "model": "m", "chosen": "w1", "reason": "local_has_room"}


@pytest.fixture
async def filed(valkey: Store) -> Receipts:
    receipts = Receipts(valkey, 1 << 20, 24)
    for number in range(NUMBER):
        receipts.add(receipt(number))
    await receipts.flush()
    return receipts


async def everything(receipts: Receipts, search: Search) -> list[str]:
    """The ids of all pages of a search."""
    ids: list[str] = []
    while True:
        rows, older = await find(receipts, policy(), search)
        assert len(rows) <= search.limit
        ids += [row["id"] for row in rows]
        if older is None:
            return ids
        search = Search(search.wanted, search.limit, search.since, older)


@pytest.mark.parametrize("batch", [1, 4, 100])
@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_what_is_found(filed: Receipts, monkeypatch: pytest.MonkeyPatch, batch: int, limit: int) -> None:
    monkeypatch.setattr(searching, "BATCH", batch)
    wanted = {"outcome": "spilled", "tenant": "t1", "upstream": "w1"}
    found = await everything(filed, Search(wanted, limit))
    assert sorted(found) == sorted(f"r{number}" for number in range(NUMBER) if number % 3 == 0 and number % 2)
    assert sorted(await everything(filed, Search({}, limit))) == sorted(f"r{number}" for number in range(NUMBER))


async def test_a_search_is_bounded_and_goes_on(filed: Receipts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "BATCH", 4)
    monkeypatch.setattr(searching, "MOST_LOOKED_AT", 8)
    rows, older = await find(filed, policy(), Search({"rule": "another"}))
    assert (rows, older is None) == ([], False)
    assert await everything(filed, Search({"rule": "another"})) == []


async def test_since_and_before(filed: Receipts) -> None:
    newest = (await filed.page(1)).filed[0].second
    assert await everything(filed, Search({}, since=newest + 1)) == []
    assert await everything(filed, read({"before": str(newest - 5)}, PAGE)) == []
    assert len(await everything(filed, read({"before": str(newest + 1)}, PAGE))) == NUMBER


async def test_a_row(filed: Receipts) -> None:
    rows, _ = await find(filed, policy(), Search({}, 1))
    assert rows[0] == {
        "id": rows[0]["id"],
        "time": 1.0,
        "tenant": rows[0]["tenant"],
        "model": "m",
        "rule": "chat",
        "outcome": "spilled",
        "reason": "local_has_room",
        "backend": "gpu",
        "upstream": "w1",
        "status": 200,
        "ttft_ms": None,
        "total_ms": None,
        "cost_usd": None,
    }


def test_what_is_asked() -> None:
    asked = read({"rule": "chat", "tenant": "", "since": "12.5", "older": "17.3.4", "limit": "5"}, 5)
    assert asked == Search({"rule": "chat"}, 5, 12.5, Place(17, 3, 4))


@pytest.mark.parametrize(
    "given", [{"prompt": "x"}, {"older": "1.2"}, {"older": "x"}, {"since": "today"}, {"before": "-1"}]
)
def test_what_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        read(given, PAGE)


def test_a_story_is_told_of_what_can_be_read() -> None:
    seen = [{"upstream": "w1", "score": 1.0, "work": 1, "load": 0.5, "limit": 10}]
    made = told(policy(), {**receipt(1), "policy": policy().version, "candidates": seen, "drops": {"health": 2}})
    assert made["story"]
    said = ("local", "rule: ", "policy: ", "dropped: ", "loads and limits")
    assert not [line for line in made["story"] if line.startswith(said)], "the page says these already"
    assert [row["upstream"] for row in made["candidates"]] == ["w1"]
    assert told(policy(), {"candidates": "another release"}) == {"story": [], "candidates": []}
