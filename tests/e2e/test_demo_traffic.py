"""`make demo` on free ports: its traffic goes past what the demo's fleet can carry, and that is seen at once."""

from __future__ import annotations

from pathlib import Path

from loadtests import demo_fleet
from loadtests.demo import traffic
from loadtests.simfleet.harness import start
from loadtests.stack import start_gateway
from tests.e2e.test_round_trips import copied
from tests.live_feed import looking

WITHIN_SECONDS = 30.0
"""Four on a machine with nothing else to do."""


def test_a_spilled_request_is_on_the_dashboards_feed(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    with start(**demo_fleet.config(0)) as fleet:
        copied(folder, fleet)
        with (
            start_gateway(folder, tmp_path / "data", log=tmp_path / "gateway.log") as gateway,
            looking(gateway.url, "fleet,flow,status") as seen,
        ):
            seen.sees(lambda told: not any(told.outcomes("chat").values()), "a quiet demo")
            with traffic(gateway.url, folder):
                seen.sees(lambda told: told.outcomes("chat")["spilled"], "a spilled chat", WITHIN_SECONDS)
            assert seen.told.outcomes("chat")["local"] > 0
