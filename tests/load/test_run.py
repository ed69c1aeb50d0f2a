"""Whole runs in small: Locust, a gateway, a simulated fleet; picture, report, record and exit code."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import msgspec
import pytest
from gateways import KEY, Lane, Site, eventually, serve

from loadtests.load import tally
from loadtests.load.__main__ import main
from loadtests.load.tell import PICTURE, RECORD, REPORT, Run
from loadtests.stack import ROOT, free_port

pytestmark = pytest.mark.skipif(find_spec("locust") is None, reason="the load extra is not installed")

OVER = """
about: Over the capacity of four seats for three seconds.
seconds: 3
unit: per_second
load: {steps: [{name: all, share: 1, level: 25}]}
requests: [{kind: chat, model: chat, flagged: 0.2}]
"""
CLIENTS = """
about: Clients that leave and clients that read slowly.
seconds: 2
unit: per_second
load: {steps: [{name: all, share: 1, level: 12}]}
requests: [{kind: chat, model: chat, flagged: 0}]
burstiness: 0.5
clients: {slow: {share: 0.3, bytes_per_second: 20000}, leave: {share: 0.4, within: 0.2}}
"""
LAX = "default: {failed_share: 0, leases_left: 0}"
STRICT = "default: {spilled_share: 0}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("site"), [Lane("chat", workers=2, seats=2)]) as site, key():
        yield site


@contextlib.contextmanager
def key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_KEY", KEY)
        yield


def played(site: Site, folder: Path, scenario: str, slo: str, *more: str) -> tuple[int, Run]:
    (folder / "mine.yaml").write_text(scenario)
    (folder / "slo.yaml").write_text(slo)
    asked = [str(folder / "mine.yaml"), "--url", site.gateway.url, "--policies", str(site.folder)]
    code = main([*asked, "--slo", str(folder / "slo.yaml"), "--out", str(folder), *more])
    return code, msgspec.json.decode((folder / "mine" / RECORD).read_bytes(), type=Run)


def test_a_run_over_the_capacity_spills_and_breaks_a_limit_that_forbids_it(site: Site, tmp_path: Path) -> None:
    """What is asserted holds at any speed of the machine."""
    code, record = played(site, tmp_path, OVER, STRICT)
    told = record.sides[0]
    assert len(told.results) == told.evidence.planned > 40
    assert not [r.fault for r in told.results if r.fault]
    flagged = [r for r in told.results if r.flagged]
    assert {(r.outcome, r.reason) for r in flagged} == {("local", "residency")}
    bought = len([r for r in site.fleet.requests("chat-api") if r["path"] == "/v1/chat/completions"])
    assert bought == told.whole.spilled > 0
    assert tally.metered(told.samples) == pytest.approx(told.whole.spent, rel=0.05)
    assert told.generator.cpu_mean is not None
    if record.verdict != "VOID":  # of a busy machine
        assert (code, record.verdict) == (1, "FAIL")
        assert told.verdict.text.startswith("spilled_share ")
    assert (tmp_path / "mine" / PICTURE).exists()
    assert "spilled_share" in (tmp_path / "mine" / REPORT).read_text()


def test_clients_that_leave_or_read_slowly_on_two_gateways(site: Site, tmp_path: Path) -> None:
    code, record = played(site, tmp_path, CLIENTS, LAX, "--against", site.gateway.url)
    first, other = record.sides
    assert [(r.due, r.prompt, r.output) for r in first.results] == [(r.due, r.prompt, r.output) for r in other.results]
    for told in record.sides:
        kinds = Counter("gone" if r.gone else "slow" if r.slow else "usual" for r in told.results)
        assert min(kinds["gone"], kinds["slow"], kinds["usual"]) > 0, kinds
        assert not [r.fault for r in told.results if r.fault]
        assert all(r.ended - r.began < 0.2 + tally.LATE_SECONDS * 5 for r in told.results if r.gone)
        assert told.samples[-1].leases == 0
    assert code == (0 if record.verdict == "PASS" else 1)
    assert record.verdict in ("PASS", "VOID")


def test_the_web_page_starts_a_test_and_ends_with_its_process(site: Site) -> None:
    """The locustfile by itself, as `locust -f` has it."""
    port = free_port()
    command = [sys.executable, "-m", "loadtests.load.ui", "--url", site.gateway.url, "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as page:
                eventually(lambda: answers(page), "Locust's page", within=20.0)
                assert "disconnect-storm" in page.get("/").text  # scenarios can be chosen
                form = {"user_count": "5", "spawn_rate": "5", "host": site.gateway.url, "scenario": "free"}
                assert page.post("/swarm", data=form).json()["success"]
                eventually(
                    lambda: page.get("/stats/requests").json()["stats"][-1]["num_requests"], "requests", within=20.0
                )
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"http://127.0.0.1:{port}" in said


def answers(page: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return page.get("/").status_code == httpx.codes.OK
    return False
