"""One row for every attempt, on the stream to the ledger, and the simulated API's own bill beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.money.till import STREAM
from loadtests.simfleet.bills import read_bills
from tests.conftest import LEDGER
from tests.gateways import Lane, Site, eventually, gateway_on, start_lanes

PRICES = {"usd_in_per_1m": 0.25, "usd_out_per_1m": 0.75}
SLOW = {**PRICES, "tokens_per_s": 60.0, "frames_per_s": 10.0, "output_median": 2000.0, "output_sigma": 0.01}
LONG = {"max_tokens": 2000, "ignore_eos": True}
SPILL = {"max_wait": 0}
LANES = [
    Lane("rows", seats=1, api=PRICES, route=SPILL),
    Lane("slow", seats=1, api=SLOW, route=SPILL),
    Lane("held", seats=1, api=PRICES, route={"spill": {"backends": ["held-api"], "budget_usd_per_hour": 5}, **SPILL}),
    Lane("again", api=PRICES, route={"fallback": ["again-api"], "spill": None}),
    Lane("pair", workers=2, cloud=False, route={"hedge": {"after": "50ms", "budget": 0.1}, "spill": None}),
]


NOWHERE = "sqlite:////proc/no-such-place/ledger.db"
"""A ledger that cannot be written: its rows stay on the stream."""


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bills") / "bills.jsonl"


@pytest.fixture(scope="module")
def site(bills: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        start_lanes(LANES, bills=str(bills)) as fleet,
        gateway_on([fleet], LANES, tmp_path_factory.mktemp("site"), {LEDGER: NOWHERE}) as running,
    ):
        yield running


def rows_of(site: Site, request: str, count: int = 1) -> list[dict[str, Any]]:
    """The rows of one request, once there are so many; oldest first."""

    def look() -> list[dict[str, Any]] | None:
        with redis.Redis(unix_socket_path=str(site.data / "store.sock")) as client:
            client.set_response_callback("XRANGE", lambda told, **_: told)  # else a dict, but all fields are `row`
            entries: Any = client.execute_command("XRANGE", STREAM, "-", "+")
        rows = [json.loads(each) for _, pairs in entries for each in pairs[1::2]]
        found = [row for row in rows if row["request"] == request]
        assert len({row["attempt"] for row in found}) == len(found), "one row for each attempt"
        return found if len(found) >= count else None

    return sorted(eventually(look, f"{count} rows of {request}"), key=lambda row: row["began"])


def bill_of(bills: Path, attempt: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        return next((bill for bill in read_bills(bills) if bill["request_id"] == attempt), None)

    return eventually(look, f"the bill of {attempt}")


def spilled(site: Site, lane: str, **body: Any) -> str:
    """The request id of a whole answer of the lane's API."""
    with site.occupied(lane):
        answer = site.chat(lane, **body)
    assert answer.headers["x-gateway-outcome"] == "spilled", answer.text
    site.quiet(lane)
    return answer.headers["x-request-id"]


def test_an_answer_of_our_own_costs_its_gpu_time(site: Site) -> None:
    answer = site.chat("rows", headers={"X-Gateway-Pipeline": "nightly"}, max_tokens=50, ignore_eos=True)
    (row,) = rows_of(site, answer.headers["x-request-id"])
    assert (row["kind"], row["basis"], row["payer"], row["result"], row["status"]) == (
        *("local", "amortised", "tenant", "answered"),
        200,
    )
    assert (row["tenant"], row["model"], row["rule"], row["backend"]) == ("acme", "rows", "rows", "rows")
    assert row["output_tokens"] == 50
    assert row["cost"] == -(-row["gpu_us"] * 2_000_000 // 3_600_000_000) > 0
    assert answer.headers["x-gateway-cost-usd"] == f"0.{row['cost']:06d}"
    assert (row["gpu_kind"], row["demo"], row["estimated"], row["absurd"]) == ("H100", False, False, False)
    assert 0 <= row["ended"] - row["began"] < 20_000_000


def test_what_is_bought_costs_what_the_api_charges(site: Site, bills: Path) -> None:
    (row,) = rows_of(site, spilled(site, "rows", max_tokens=7, ignore_eos=True))
    bill = bill_of(bills, row["attempt"])
    assert (row["cost"], row["input_tokens"], row["output_tokens"]) == (
        bill["micro_usd"],
        bill["prompt_tokens"],
        bill["completion_tokens"],
    )
    assert (row["kind"], row["basis"], row["outcome"], row["payer"], row["demo"]) == (
        *("managed", "list", "spilled", "tenant"),
        True,
    )


def test_so_does_a_stream(site: Site, bills: Path) -> None:
    with site.occupied("rows"), site.stream("rows", max_tokens=33, ignore_eos=True) as (answer, lines):
        assert list(lines)[-1] == "[DONE]"
    (row,) = rows_of(site, answer.headers["x-request-id"])
    assert row["cost"] == bill_of(bills, row["attempt"])["micro_usd"]
    assert (row["output_tokens"], row["estimated"]) == (33, False)


def test_a_retry_is_a_row_of_its_own_and_the_failure_is_ours(site: Site, bills: Path) -> None:
    site.fleet.config("again-1", error_rate=1.0)
    answer = site.chat("again")
    site.fleet.config("again-1", clear=True)
    failed, answered = rows_of(site, answer.headers["x-request-id"], 2)
    assert (failed["result"], failed["payer"], failed["kind"], failed["status"]) == (
        *("Refused", "operator", "local"),
        500,
    )
    assert (answered["result"], answered["payer"], answered["outcome"]) == ("answered", "tenant", "fallback")
    assert answered["cost"] == bill_of(bills, answered["attempt"])["micro_usd"]


def test_a_lost_race_is_on_us(site: Site) -> None:
    for _ in range(10):  # a hedge is saved up at a tenth of one for each request
        site.chat("pair")
    site.fleet.config("pair-1", slow=100.0)
    for _ in range(8):  # until one of them came to the slow worker first
        with site.stream("pair", max_tokens=4) as (answer, lines):
            assert list(lines)[-1] == "[DONE]"
        site.quiet("pair")
        if answer.headers["x-gateway-reason"] == "hedged":
            break
    site.fleet.config("pair-1", clear=True)
    lost, won = sorted(rows_of(site, answer.headers["x-request-id"], 2), key=lambda row: row["role"])
    assert (lost["result"], lost["payer"], lost["estimated"]) == ("lost", "operator", True)
    assert (won["result"], won["payer"], won["role"]) == ("answered", "tenant", "hedge")
    assert lost["cost"] > 0


def test_a_stream_that_its_client_left_is_estimated_and_never_below_the_bill(site: Site, bills: Path) -> None:
    with site.occupied("slow"):
        with site.stream("slow", **LONG) as (answer, lines):
            for _ in range(8):
                next(lines)
        (row,) = rows_of(site, answer.headers["x-request-id"])
    bill = bill_of(bills, row["attempt"])
    assert (row["result"], row["payer"], row["basis"], row["estimated"]) == ("client_left", "tenant", "list", True)
    assert bill["how"] == "aborted"
    assert bill["micro_usd"] <= row["cost"] <= 4 * bill["micro_usd"]


@pytest.mark.parametrize("stream", [False, True])
def test_without_usage_it_is_counted_and_never_below_the_bill(site: Site, bills: Path, stream: bool) -> None:
    site.fleet.config("rows-api", usage="none")
    with site.occupied("rows"):
        if stream:
            with site.stream("rows", max_tokens=40, ignore_eos=True) as (answer, lines):
                assert list(lines)[-1] == "[DONE]"
        else:
            answer = site.chat("rows", max_tokens=40, ignore_eos=True)
    site.fleet.config("rows-api", clear=True)
    (row,) = rows_of(site, answer.headers["x-request-id"])
    assert (row["estimated"], row["absurd"], row["basis"]) == (True, False, "list")
    assert bill_of(bills, row["attempt"])["micro_usd"] <= row["cost"]


@pytest.mark.parametrize("usage", ["negative", "huge", "text"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("lane", ["rows", "held"])
def test_absurd_usage_is_booked_at_what_was_set_aside(
    site: Site, bills: Path, lane: str, usage: str, stream: bool
) -> None:
    api = f"{lane}-api"
    site.fleet.config(api, usage=usage)
    before = site.metric("gateway_usage_absurd_total", upstream=api) or 0.0
    with site.occupied(lane):
        if stream:
            with site.stream(lane, max_tokens=20, ignore_eos=True) as (answer, lines):
                assert list(lines)[-1] == "[DONE]"
        else:
            answer = site.chat(lane, max_tokens=20, ignore_eos=True)
            assert answer.json()["usage"], "what the upstream says is passed on as it is"
    site.fleet.config(api, clear=True)
    (row,) = rows_of(site, answer.headers["x-request-id"])
    bill = bill_of(bills, row["attempt"])["micro_usd"]
    assert row["absurd"]
    assert 0 < row["input_tokens"] < 100_000
    assert 0 < row["output_tokens"] < 5_000
    if lane == "held":
        assert (row["cost"], row["basis"]) == (None, "reserved")
        assert row["reserved"] >= bill
    else:
        assert (row["basis"], row["reserved"]) == ("list", 0)
        assert row["cost"] >= bill
    assert site.metric("gateway_usage_absurd_total", upstream=api) == before + 1
    said = [line for line in site.logged().splitlines() if "cannot be true" in line and api in line]
    assert len(said) == 1, "once for each upstream"


def test_a_refused_request_is_a_row_without_a_price(site: Site) -> None:
    answer = site.chat("rows", messages=[])
    assert answer.status_code == 400
    (row,) = rows_of(site, answer.headers["x-request-id"])
    assert (row["result"], row["cost"], row["basis"], row["status"]) == ("passed_on", 0, "none", 400)
