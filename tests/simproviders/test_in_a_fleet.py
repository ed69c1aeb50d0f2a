"""Providers as servers of a simulated fleet: another process starts them by its config."""

from __future__ import annotations

from decimal import Decimal

import httpx
import pytest

from loadtests.simfleet.config import ConfigFault, build
from loadtests.simfleet.harness import start
from loadtests.simproviders.table import PROVIDERS


def test_a_fleet_serves_every_provider_each_at_its_own_port() -> None:
    with start(workers=1, managed=0, providers=[{"kind": kind, "api_key": "k"} for kind in PROVIDERS]) as fleet:
        assert [each.name for each in fleet.providers] == list(PROVIDERS)
        gmi = next(each for each in fleet.providers if each.name == "gmi")
        body = {"model": "seedream-5.0-lite", "payload": {"prompt": "x"}}
        made = httpx.post(f"{gmi.url}/requests", json=body, headers={"authorization": "Bearer k"}, trust_env=False)
        (file,) = made.json()["outcome"]["media_urls"]
        assert httpx.get(file["url"], trust_env=False).content.startswith(b"\x89PNG")
        root = f"http://127.0.0.1:{gmi.port}"
        assert Decimal(httpx.get(f"{root}/sim/state", trust_env=False).json()["usd"]) == Decimal("0.035")


@pytest.mark.parametrize(
    ("given", "said"), [([{"kind": "nobody"}], "kind"), ([{"kind": "gmi"}, {"kind": "gmi"}], "name")]
)
def test_what_cannot_be_served(given: list[dict[str, str]], said: str) -> None:
    with pytest.raises(ConfigFault, match=said):
        build({"providers": given}).plan()
