"""The policy folder is edited while requests are served: a good change takes effect, a bad one never does."""

from __future__ import annotations

import re

import httpx

from tests.gateways import Lane, Site, eventually
from tests.live_feed import looking
from tests.processes import connected_to

LANES = [Lane("chat", seats=1)]
RELOAD_SECONDS = 2.0
SOUND = "policy folder sound again"


def edit(site: Site, old: str, new: str, file: str = "routing.yaml") -> None:
    path = site.folder / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def version(site: Site) -> str:
    answer: httpx.Response = site.chat("chat")
    assert answer.status_code == 200
    told: str = answer.headers["x-gateway-policy"]
    return told


def test_a_broken_folder_keeps_the_last_good_one_in_force(site: Site) -> None:
    good = version(site)
    with site.occupied("chat"):
        assert site.chat("chat").headers["x-gateway-outcome"] == "spilled"

    with looking(site.gateway.url, only="status,fleet") as seen:
        edit(site, '"spill": {', '"spil": {')
        eventually(lambda: site.metric("gateway_policy_fault") == 1, "the fault is seen", RELOAD_SECONDS)
        assert version(site) == good
        with site.occupied("chat"):
            assert site.chat("chat").headers["x-gateway-outcome"] == "spilled", "not even half of it took effect"
        assert re.search(r'"fault": "routing\.yaml:\d+:\d+: rules\[1\]\.route\.spil', site.logged())
        assert site.http.get("/readyz").status_code == 200
        seen.sees(lambda told: "last good one stays: routing.yaml" in str(told.last["status"]["faults"]), "a banner")
        assert SOUND not in site.logged()

        edit(site, '"spil": {', '"spill": {')
        eventually(lambda: site.metric("gateway_policy_fault") == 0, "the fault is gone", RELOAD_SECONDS)
        assert version(site) == good, "the same content is the same version"
        assert site.logged().count(SOUND) == 1
        seen.sees(lambda told: told.last["status"]["faults"] == [], "no banner any more")


def test_a_good_change_takes_effect_within_two_seconds_and_streams_go_on(site: Site) -> None:
    before = version(site)
    with site.stream("chat", max_tokens=200, ignore_eos=True) as (_, lines):
        next(lines)
        edit(site, '"max_wait": "20s"', '"max_wait": "10ms", "attempts": 2')
        eventually(lambda: site.chat("chat").headers["x-gateway-policy"] != before, "the new policy", RELOAD_SECONDS)
        assert list(lines)[-1] == "[DONE]"
    assert "policy in force" in site.logged()
    site.quiet("chat")


def test_connections_to_an_address_that_is_no_longer_named_are_closed(site: Site) -> None:
    with site.occupied("chat"):
        assert site.chat("chat").headers["x-gateway-outcome"] == "spilled"
    (api,) = site.fleet.managed
    assert connected_to(api.port, [site.gateway.pid])
    edit(site, api.url, api.url.replace("127.0.0.1", "localhost"), "backends.yaml")
    eventually(lambda: not connected_to(api.port, [site.gateway.pid]), "it is closed", RELOAD_SECONDS)
    site.quiet("chat")
