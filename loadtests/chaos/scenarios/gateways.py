"""Gateways that are killed, told to stop, or replaced one by one."""

from __future__ import annotations

import time

from loadtests.chaos.scenario import scenario
from loadtests.chaos.score import Promise
from loadtests.chaos.site import Bench, Layout, Site


@scenario(
    "gateway-kill",
    "SIGKILL of a replica cuts the streams that it held and nothing else; its leases are gone within 6 s.",
    Promise(cut=40, lost=0),
    fast=True,
)
def gateway_kill(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(2)
        site.kill_gateway("g1")
        bench.recovers_from()
        time.sleep(4)
        site.start_gateway("g1")
        time.sleep(2)


@scenario("gateway-term", "SIGTERM of a replica: what it holds is finished, what comes goes to the other.")
def gateway_term(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(2)
        bench.recovers_from()
        code = site.stop_gateway("g1")
        bench.expect(code == 0, f"exit code {code}")
        time.sleep(3)
        site.start_gateway("g1")
        time.sleep(3)


@scenario(
    "rolling-restart",
    "Both replicas are replaced one after the other under load, by SIGTERM alone: nobody notices.",
    fast=True,
)
def rolling_restart(bench: Bench) -> None:
    site = bench.open(Layout(env={"GATEWAY_LEAVE_SECONDS": "0.5"}))
    with site.load():
        bench.recovers_from()
        for name in ("g1", "g2"):
            time.sleep(0.5)
            code = site.stop_gateway(name)
            bench.expect(code == 0, f"exit code {code}")
            site.start_gateway(name)
        time.sleep(1)


@scenario("policy-broken", "A broken policy folder is refused, a good one taken; no request sees the change.")
def policy_broken(bench: Bench) -> None:
    site = bench.open()
    with site.load():
        time.sleep(1)
        bench.recovers_from()
        (site.policy / "routing.yaml").write_text("rules: [{name: half")
        time.sleep(2)
        before = site.get("/admin/v1/policies", admin=True).json()["in_force"]
        site.write_policy(attempts=2)
        took = site.until(lambda: _in_force(site) not in (before, None), "the good folder in force on both replicas")
        bench.notes.append(f"the good one was in force after {took:.1f} s")
        time.sleep(3)


def _in_force(site: Site) -> str | None:
    """The version that all replicas have; None where they differ."""
    versions = {site.get("/admin/v1/policies", name, admin=True).json()["in_force"] for name in site.gateways}
    return versions.pop() if len(versions) == 1 else None
