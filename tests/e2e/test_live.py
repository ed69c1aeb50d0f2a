"""The live feed and the receipts of operators, on a real gateway."""

from __future__ import annotations

import time
from typing import Any

import httpx

from tests.gateways import Lane, Site, eventually
from tests.live_feed import PATH, looking

LANES = [Lane("chat", workers=2), Lane("idle")]
KINDS = {"hello", "fleet", "flow", "latency", "money", "policy", "status"}
TAKES = ("up", "warming")
DRAIN_SEEN_SECONDS = 2.0


def test_every_kind_comes_once_and_whole(site: Site) -> None:
    with looking(site.gateway.url) as seen:
        eventually(lambda: seen.told.last.keys() >= KINDS, "every kind")
        first = dict(reversed(seen.events))
    assert seen.events[0][0] == "hello"
    assert all(data.get("all", True) for data in first.values())
    assert {row["name"] for row in seen.told.rows.values() if row["kind"] == "local"} == {"chat-1", "chat-2", "idle-1"}
    assert seen.told.rows["chat-1"]["state"] in TAKES
    assert first["status"]["ready"] is True
    assert len(first["flow"]["minutes"]) == 60
    assert [row["replica"] for row in first["policy"]["replicas"]] == [first["hello"]["replica"]]


def test_what_was_asked_for_is_in_the_flow(site: Site) -> None:
    with looking(site.gateway.url) as seen:
        seen.sees(lambda told: True, "the first picture")
        before = seen.told.outcomes("chat")["local"]
        for _ in range(3):
            assert site.chat("chat", stream=True).status_code == 200
        seen.sees(lambda told: told.outcomes("chat")["local"] == before + 3, "three more")
        seen.sees(lambda told: told.last["latency"]["rules"].get("chat", {}).get("n", 0) >= 3, "their latency")
        streams = seen.told.last["latency"]["rules"]["chat"]["n"]
        assert site.chat("chat").status_code == 200
        seen.sees(lambda told: told.outcomes("chat")["local"] == before + 4, "a whole answer")
        seen.sees(lambda told: told.last["latency"]["rules"]["chat"]["n"] == streams, "which has no first token")
    row = seen.told.last["latency"]["rules"]["chat"]
    assert 0 < row["ttft_ms"]["p50"] <= row["ttft_ms"]["p99"]


def test_a_drain_shows_within_two_seconds(site: Site) -> None:
    with looking(site.gateway.url, only="fleet,status") as seen:
        seen.sees(lambda told: told.rows["chat-2"]["state"] in TAKES, "it is up")
        began = time.monotonic()
        site.http.post("/admin/v1/workers/chat-2/drain", json={"reason": "a new driver"})
        seen.sees(lambda told: told.rows["chat-2"]["state"] == "drained", "the drain", DRAIN_SEEN_SECONDS)
        assert time.monotonic() - began < DRAIN_SEEN_SECONDS
        assert seen.told.rows["chat-2"]["why"] == "a new driver"
        site.http.post("/admin/v1/workers/chat-2/undrain")
        seen.sees(lambda told: told.rows["chat-2"]["state"] in TAKES, "it is back")
    assert {kind for kind, _ in seen.events} == {"hello", "fleet", "status"}


def test_what_it_does_not_answer(site: Site) -> None:
    unknown = site.http.get(PATH, params={"only": "fleet,weather"})
    assert unknown.status_code == httpx.codes.BAD_REQUEST
    assert unknown.json()["error"]["param"] == "only"


def test_receipts_newest_first_and_their_stories(site: Site) -> None:
    ids = [site.chat("chat").headers["x-request-id"] for _ in range(3)]
    asked = {"rule": "chat", "limit": 2, "outcome": "local"}

    def newest() -> dict[str, Any] | None:
        told: dict[str, Any] = site.http.get("/admin/v1/receipts", params=asked).json()
        return told if [row["id"] for row in told["receipts"]] == ids[:0:-1] else None

    told = eventually(newest, "the two newest")
    more = site.http.get("/admin/v1/receipts", params={"rule": "chat", "limit": 1, "older": told["older"]}).json()
    assert [row["id"] for row in more["receipts"]] == ids[:1]
    row = more["receipts"][0]
    assert (row["tenant"], row["model"], row["backend"], row["status"]) == ("acme", "chat", "chat", 200)
    one = site.http.get(f"/admin/v1/receipts/{ids[0]}").json()
    assert one["receipt"]["id"] == ids[0]
    assert any(line.startswith("asked chat-") for line in one["story"])
    assert any(sentence.startswith(f"asked {row['upstream']} at") for sentence in one["story"])
    assert site.http.get("/admin/v1/receipts/nothing").status_code == httpx.codes.NOT_FOUND
