"""How one run is judged: the SLO of the rule, what left, how often the route turned; and the tables made of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.model import Demand, Slo, Speed, Upstream
from loadtests.model.policies.figures import Ended, Figures, Tally, left, met, quantile, switches
from loadtests.model.policies.table import Made, block, faults, line, mean, put, summary

ZONES = {
    "fra": frozenset({"fra", "de", "eu"}),
    "de": frozenset({"de", "eu"}),
    "eu": frozenset({"eu"}),
    "us": frozenset({"us"}),
}
HOME = Upstream(
    "w", "gpu", "local", "http://127.0.0.1", "openai", "fra", (ip_network("127.0.0.0/8"),), Speed(8, 0.06, 0.04), 1, 1
)
API = replace(HOME, name="api", kind="managed", zone="us")
PRIVATE = replace(API, name="private", zone="eu", private_in=frozenset({"eu"}))
SLO = Slo(ttft=1.0, tpot=0.03)
ASKED = Ended(0.0, Demand(), SLO, timed=True, stream=True, output=101, all_sent_out=0.001)


def served(first: float, done: float, **kept: object) -> Ended:
    return ASKED._replace(upstream=HOME, first=first, done=done)._replace(**kept)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "good"),
    [
        (served(0.9, 3.8), True),
        (served(1.1, 3.8), False),
        (served(0.9, 4.0), False),
        (served(0.9, 3.8, slo=replace(SLO, total=3.7)), False),
        (served(9.0, 99.0, slo=Slo()), True),
        (served(4.0, 4.0, stream=False), True),  # 1 s and 101 tokens of 30 ms
        (served(4.1, 4.1, stream=False), False),
        (ASKED._replace(slo=Slo()), False),  # refused
    ],
)
def test_met_is_within_every_part_of_the_slo_of_its_rule(one: Ended, good: bool) -> None:
    assert met(one, one.slo) is good


EU, DE, LOCAL = Demand(zones=frozenset({"eu"})), Demand(zones=frozenset({"de"})), Demand(local=True)


@pytest.mark.parametrize(
    ("demand", "upstream", "gone"),
    [
        (Demand(), API, False),
        (LOCAL, HOME, False),
        (LOCAL, PRIVATE, True),
        (EU, HOME, False),
        (EU, PRIVATE, False),
        (EU, API, True),
        (DE, PRIVATE, True),
        (DE, replace(API, zone="de"), True),  # hosted there is not a private endpoint there
        (DE, replace(HOME, zone="us"), True),
        (EU, None, False),
    ],
)
def test_left_is_judged_without_the_gateways_own_function(demand: Demand, upstream: Upstream, gone: bool) -> None:
    assert left(ASKED._replace(demand=demand, upstream=upstream), ZONES) is gone


def test_a_switch_is_a_turn_of_the_whole_route() -> None:
    def second(at: int, away: int) -> list[Ended]:
        return [ASKED._replace(at=at + n / 10, upstream=API if n < away else HOME) for n in range(9)]

    shares = [0, 4, 0, 5, 7, 4, 9, 2, 0]  # of nine: away from the seventh on, home again from below three
    assert switches([one for at, away in enumerate(shares) for one in second(at, away)]) == 2


def test_figures_count_every_request_once() -> None:
    tally = Tally(ZONES)
    tally.ended += [
        served(0.5, 3.0),
        served(60.0, 90.0, timed=False),
        ASKED,
        ASKED._replace(upstream=API, first=0.4, done=2.0, paid=0.002, demand=EU),
    ]
    got = tally.figures(36.0)
    assert (got.asked, got.flagged, got.flagged_left) == (4, 1, 1)
    assert (got.attained, got.chat, got.spilled, got.refused) == pytest.approx((0.5, 0.5, 0.25, 0.25))
    assert (got.usd_per_hour, got.cost) == pytest.approx((0.2, 0.5))
    assert (got.p50, quantile([], 0.5)) == (0.5, 0.0)


GOOD = Figures(100, 0.99, 0.95, 0.2, 0.0, 10, 0, 5.0, 0.2, 0.1, 0.5, 0.0)
QUICK = replace(GOOD, usd_per_hour=9.0)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ({"local-first": {"burst": GOOD}}, ""),
        ({"local-first": {"burst": replace(GOOD, flagged_left=1)}}, "1 flagged requests left"),
        ({"local-first": {"burst": replace(GOOD, switches=4.0)}}, "flaps"),
        ({"air-gapped": {"burst": GOOD}}, "left a folder without APIs"),
        ({"cost-saver": {"burst": GOOD}, "latency-first": {"burst": QUICK}}, ""),
        ({"cost-saver": {"burst": QUICK}, "latency-first": {"burst": GOOD}}, "costs more"),
        ({"cost-saver": {"burst": GOOD}, "latency-first": {"burst": replace(QUICK, chat=0.9)}}, "fewer in time"),
    ],
)
def test_the_verdict_names_what_is_wrong(folders: dict[str, dict[str, Figures]], said: str) -> None:
    found = list(faults(folders))
    assert said in "\n".join(found)
    assert len(found) == bool(said)


def test_seeds_are_averaged_and_counts_summed() -> None:
    both = mean([GOOD, replace(GOOD, attained=0.97, flagged_left=2)])
    assert (both.attained, both.asked, both.flagged_left) == (pytest.approx(0.98), 200, 2)


def test_figures_are_written_between_the_marks_and_nowhere_else(tmp_path: Path) -> None:
    page, rows, made = tmp_path / "README.md", {"burst": GOOD}, Made(seeds=2, traces=False)
    page.write_text("before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n")
    assert put(page, block(rows, made))
    assert put(page, block(rows, made))
    text = page.read_text()
    assert text.startswith("before\n<!-- figures -->\n`make policy-model`")
    assert text.endswith("10, of which 0 left.\n<!-- /figures -->\nafter\n")
    assert line("burst", GOOD) in text
    assert "old" not in text
    page.write_text("no marks")
    assert not put(page, "x")
    assert "99.0% / 95.0% / 0.0% / 5.00" in summary({"local-first": rows}, made, ["burst"])
