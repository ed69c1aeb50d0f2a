"""From the stream to a report: a real gateway, its writer, the reader that it asks, and the command."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from gateway.__main__ import cli
from gateway.model import Row, Snapshot
from gateway.money.hours import Hours
from gateway.money.till import Till
from gateway.store.connection import Store
from tests.commands import ran
from tests.gateways import KEY, OTHER_KEY, Lane, Site, eventually, serve
from tests.live_feed import looking
from tests.reports.books import US, bought, row
from tests.worlds import state, upstream

ADMIN = "admin-key-of-the-tests"
SQL = "x'); DROP TABLE attempts; --"
MODEL = "booked"
"""Of the rows that are put on the stream here: what the gateway books itself is of other models."""


def rows() -> list[Row]:
    ended = time.time_ns() // 1000
    made = [
        row("t1", tenant="acme", key="k1", tags=(SQL,)),
        bought("t2", tenant="acme", key="k2"),
        bought("t3", tenant="other", key="k3"),
        bought("t4", tenant="acme", key="k1", payer="operator"),
        bought("t5", tenant="other", cost=None, list_cost=None, reserved=900, state="unreconciled", basis="reserved"),
    ]
    return [replace(one, model=MODEL, began=ended - US, ended=ended) for one in made]


@pytest.fixture(scope="module")
def site(ledger_kept: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Once what was put on the stream is in the ledger."""
    place = tmp_path_factory.mktemp("reports")
    with serve(place, [Lane("chat")], {"GATEWAY_ADMIN_KEY": ADMIN}) as found:
        asyncio.run(book(found))
        eventually(lambda: sums(found, f"by=tenant&model={MODEL}").get("acme") is not None, "rows in the ledger", 20.0)
        yield found


async def book(site: Site) -> None:
    """As another replica would."""
    store = Store(f"unix://{site.data / 'store.sock'}", timeout=5.0)
    await store.check()
    till = Till(store, "tests")
    for one in rows():
        till.book(one)
    await till.flush()
    gpu = Snapshot(0.0, {"w1": state(upstream("w1", "gpu"))})
    assert await Hours(store, lambda: gpu).tell() is not None
    await store.aclose()


def admin(site: Site, path: str, **headers: str) -> httpx.Response:
    return site.http.get(f"/admin/v1/ledger{path}", headers={"Authorization": f"Bearer {ADMIN}", **headers})


def sums(site: Site, query: str) -> dict[str, Any]:
    answer = admin(site, f"?{query}")
    if answer.status_code != httpx.codes.OK:
        return {}
    return {line[query.partition("=")[2].partition("&")[0]]: line for line in answer.json()["lines"]}


def command(site: Site, *given: str) -> str:
    """In this process: to start one for each would take longer than all that they do."""
    done = CliRunner().invoke(cli, ["ledger", *given], env=place(site), catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def place(site: Site) -> dict[str, str]:
    return {"GATEWAY_DATA_DIR": str(site.data), "GATEWAY_POLICIES": str(site.folder)}


def test_the_admin_api(site: Site) -> None:
    found = sums(site, f"by=tenant&model={MODEL}")
    assert {name: line["cost_micro_usd"] for name, line in found.items()} == {"acme": 1800, "other": 1300}
    answer = admin(site, f"?by=outcome&model={MODEL}", Accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    lines = {line["outcome"]: line["cost_micro_usd"] for line in csv.DictReader(io.StringIO(answer.text))}
    assert lines == {"local": "1000", "spilled": "2100"}
    assert answer.headers["x-gateway-more"] == "false"
    assert admin(site, "?by=outcome,model&limit=1", Accept="text/csv").headers["x-gateway-more"] == "true"
    (lost,) = admin(site, f"?unreconciled=true&model={MODEL}").json()["lines"]
    assert (lost["attempt"], lost["reserved_micro_usd"], lost["state"]) == ("t5", 900, "unreconciled")


def test_money_of_today_in_the_first_frame(site: Site) -> None:
    given = ["top", "--once", "--url", site.gateway.url, "--key", ADMIN]
    frame = CliRunner().invoke(cli, given, catch_exceptions=False).stdout
    assert "today bought $0.00" in frame, "the ledger was waited for"


def test_money_of_today_in_the_live_feed(site: Site) -> None:
    """What is booked for an attempt of unknown outcome counts too."""
    with looking(site.gateway.url, only="money", key=ADMIN) as seen:
        eventually(lambda: seen.told.last.get("money", {}).get("spent_usd", {}).get("managed"), "an answer", 20.0)
        money = seen.told.last["money"]
    assert money["spent_usd"]["managed"] == 0.0021
    assert money["spent_usd"]["own"] > 0
    assert money["day"] == time.strftime("%Y-%m-%d", time.gmtime())


def test_pages(site: Site) -> None:
    first = admin(site, f"?by=tenant&model={MODEL}&limit=1").json()
    rest = admin(site, f"?by=tenant&model={MODEL}&limit=1&offset=1").json()
    assert [(one["lines"][0]["tenant"], one["more"]) for one in (first, rest)] == [("acme", True), ("other", False)]


def test_only_operators(site: Site) -> None:
    for path in ("", "/saved", "/advice"):
        assert site.http.get(f"/admin/v1/ledger{path}").status_code == 401


BAD = ["?by=nothing", "?frm=7d", "?from=soon", "/saved?tenant=acme", "/advice?utilisation=0", "/saved?utilisation=1e9"]


@pytest.mark.parametrize("path", BAD)
def test_what_cannot_be_asked(site: Site, path: str) -> None:
    answer = admin(site, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_a_tenant_sees_its_own(site: Site) -> None:
    """And of its own only what it pays for; nothing of other tenants, however it asks."""

    def used(key: str, query: str = "") -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        found: dict[str, Any] = site.http.get(f"/v1/gateway/usage?model={MODEL}{query}", headers=headers).json()
        return found

    mine, theirs = used(KEY), used(OTHER_KEY)
    assert (mine["tenant"]["name"], mine["tenant"]["total"]["cost_micro_usd"]) == ("acme", 1400)
    assert (theirs["tenant"]["name"], theirs["tenant"]["total"]["cost_micro_usd"]) == ("other", 1300)
    assert mine["key"]["total"]["requests"] == 0  # the rows are of other keys
    assert not [name for name in mine["tenant"]["total"] if "list" in name or "operator" in name]
    for query in ("&tenant=other", "&by=tenant", "&by=key", "&key=k2", "&payer=operator"):
        assert used(KEY, query)["error"]["code"] == "invalid_request"
    tags = used(KEY, "&by=tag")["tenant"]["lines"]
    assert [(line["tag"], line["requests"]) for line in tags] == [("", 1), (SQL, 1)]


def test_no_stranger(site: Site) -> None:
    assert site.http.get("/v1/gateway/usage", headers={"Authorization": "Bearer nobody"}).status_code == 401


def test_the_command(site: Site, tmp_path: Path) -> None:
    table = command(site, "--by", "tenant", "--model", MODEL)
    assert "$0.001800" in table
    assert "1 attempts ($0.000900) are booked at what was set aside" in table
    told = json.loads(command(site, "--by", "tenant,day", "--model", MODEL, "--from", "2d", "--format", "json"))
    assert [line["cost_micro_usd"] for line in told["lines"]] == [1800, 1300]
    assert command(site, "--tag", SQL, "--by", "model", "--format", "csv").splitlines()[1].startswith(f"{MODEL},1,1,")
    command(site, "--by", "model", "--format", "parquet", "--out", str(tmp_path / "out.parquet"))
    assert (tmp_path / "out.parquet").read_bytes()[:4] == b"PAR1"
    assert "t5" in command(site, "--unreconciled")
    same = command(site, "--by", "tenant", "--model", MODEL, "--url", site.gateway.url, "--admin-key", ADMIN)
    assert same == table


def test_saved_and_advice(site: Site) -> None:
    for where in ((), ("--url", site.gateway.url, "--admin-key", ADMIN)):
        saved = command(site, "saved", *where)
        assert "unknown: the policy in force does not have this model" in saved
        assert "gpu: 1 workers" in saved
        assert "24 are needed" in command(site, "advice", *where)
    assert json.loads(command(site, "saved", "--format", "json"))["utilisation"] == 0.75


def test_mistakes_end_with_two(site: Site) -> None:
    """The first as a process: what the store, the policy or the ledger finds fault with ends with two only there."""
    done = ran("ledger", "--by", "nothing", env={**os.environ, **place(site)})
    assert (done.returncode, "by: `nothing` is none of" in done.stderr) == (2, True)
    for given, said in ((("--format", "parquet"), "needs --out FILE"), (("--where", "rule"), "NAME=VALUE")):
        refused = CliRunner().invoke(cli, ["ledger", *given], env=place(site))
        assert (refused.exit_code, said in refused.stderr) == (2, True)
