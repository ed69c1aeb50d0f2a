"""Ratios, spreads, the verdict and its exit code."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from loadtests.bench import table
from loadtests.bench.cases import CASES, Sample, percentile
from loadtests.bench.table import Line, Process, Results, Spread, spread

CPU = {"small": 5.0, "large": 4.0, "events": 1.5, "gapless": 2.0, "rate": 3.0}
DECIDE = {
    "fleet_10": [20.0, 30.0],
    "fleet_1000": [22.0, 36.0],
    "candidates_16": [17.0, 19.0],
    "candidates_16_cel": [45.0, 49.0],
}


def sample(case: str, peer: str, cpu: float, latency: float = 1.0) -> Sample:
    return Sample(case, peer, cpu, 0.0, 100.0, latency, latency * 2, 0, "")


def results(**changes: object) -> Results:
    """Two rounds; the second is twice as slow for both, so that only pairs give the true ratio."""
    samples = [
        made
        for slow in (1.0, 2.0)
        for case, ratio in CPU.items()
        for made in (
            sample(case, "direct", 0.0),
            sample(case, "nginx", 10.0 * slow),
            sample(case, "gateway", 10.0 * slow * ratio, 1.2),
            sample(case, "no money", 10.0 * slow * ratio - 14.0, 1.2),
        )
    ]
    base = Results(tuple(samples), {"gateway": Process(1.0, 60_000_000, 15_000_000)}, DECIDE, (8.0, 9.5))
    return replace(base, **changes)  # type: ignore[arg-type]


def found(made: Results, what: str) -> Line:
    return next(line for line in table.judge(made) if line.what.startswith(what))


def test_the_cases_of_this_test_are_those_of_the_bench() -> None:
    assert set(CPU) == {case.name for case in CASES}


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], None), ([math.nan], None), ([3.0], Spread(3, 3, 3)), ([4.0, 1.0, math.nan, 2.0], Spread(2, 1, 4))],
)
def test_spread(values: list[float], expected: Spread | None) -> None:
    assert spread(values) == expected


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.99) == 2.0
    assert math.isnan(percentile([], 0.5))


def test_ratios_are_of_the_same_round() -> None:
    assert found(results(), "2 KB").found == Spread(5.0, 5.0, 5.0)
    growth = found(results(), "decide(), 10 to").found
    assert growth is not None
    assert growth.low == pytest.approx(1.1)
    assert growth.high == pytest.approx(1.2)


def test_added_latency_is_a_difference() -> None:
    added = found(results(), "added p50").found
    assert added is not None
    assert added.middle == pytest.approx(0.2)


def test_all_holds() -> None:
    lines = table.judge(results())
    assert [line.holds for line in lines] == [True] * len(lines)
    assert table.exit_code(lines, []) == 0


def test_one_line_over_its_bound_fails_the_bench() -> None:
    lines = table.judge(results(decide_us=DECIDE | {"candidates_16": [51.0]}))
    assert [line.what for line in lines if line.holds is False] == ["decide(), 16 candidates, 20 rules"]
    assert table.exit_code(lines, []) == 1


def test_telemetry_is_the_work_of_one_request() -> None:
    line = found(results(tell_us=[9.0, 11.0, 12.0]), "telemetry of one request")
    assert (line.found, line.holds) == (Spread(11.0, 9.0, 12.0), False)


def test_bad_answers_fail_the_bench_however_fast_they_were() -> None:
    good = results()
    bad = replace(
        good, samples=(*good.samples, replace(sample("small", "gateway", 1.0), failures=3, why="HTTP/1.1 429"))
    )
    assert table.faults(bad) == ["gateway, small: 3 bad answers (HTTP/1.1 429)"]
    assert table.exit_code(table.judge(bad), table.faults(bad)) == 1


def test_without_nginx_nothing_is_claimed() -> None:
    whole = results()
    lines = table.judge(replace(whole, samples=tuple(s for s in whole.samples if s.peer != "nginx")))
    assert [line.what for line in lines if line.holds is None] == [line.what for line in lines[:5]]
    assert table.exit_code(lines, []) == 2


def test_an_unmeasurable_base_gives_no_ratio() -> None:
    assert math.isnan(table.cpu_ratio(sample("small", "gateway", 5.0), sample("small", "nginx", 0.0)))


def test_both_tables_have_a_row_for_each_case_and_peer() -> None:
    peers = ["direct", "nginx", "gateway"]
    rows = table.rows(results(), peers)
    assert len(rows) == len(CASES) * len(peers)
    text = table.markdown(table.HEADINGS, rows).splitlines()
    assert {line.count("|") for line in text} == {len(table.HEADINGS) + 1}
    assert "5.00 (5.00-5.00)" in table.plain(table.HEADINGS, rows)


def test_json_says_what_the_verdict_says() -> None:
    made = json.loads(json.dumps(table.as_json(results(), table.judge(results()), {"cpu": "x"})))
    assert [line["holds"] for line in made["verdict"]] == [True] * len(table.judge(results()))
    assert len(made["samples"]) == len(results().samples)
