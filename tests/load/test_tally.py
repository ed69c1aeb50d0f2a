"""From results to rows and a verdict; from a metrics page to a sample; curves over time."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.fleet_page import parse
from loadtests.load import series, slo, tally
from loadtests.load.asks import fault as fault_of
from loadtests.load.feed import Feed, Tail
from loadtests.load.measures import MEASURES, percentile
from loadtests.load.plan import Job, Kind, Plan, Result
from loadtests.load.sampler import Sample, cpu_seconds, family, summary

from .stories import HONEST, PRICE, RAMP, result, results, story

VOID = {"void": True, "reasons": ["engine: p99 lateness is 0.31 of a step, limit 0.2"], "step_late_p99_ratio": 0.31}


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3.0], 0.95, 3.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0), ([4.0, 1.0, 2.0, 3.0], 0.95, 4.0)],
)
def test_percentile(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values) - 1e-9
    assert sum(v < found for v in values) < share * len(values) + 1e-9


def test_a_row_counts_what_was_due_in_its_span() -> None:
    sent = [
        result(9.9),
        result(10.0),
        result(12.0, first=12.4),
        result(13.0, outcome="spilled", first=13.6),
        result(14.0, outcome="fallback", first=14.7, stream=False),
        result(15.0, status=429, outcome="", first=None),
        result(16.0, status=502, outcome="", first=None, fault="status 502"),
        result(17.0, fault="cut off"),
        result(18.0, gone=True),
        result(19.0, kind="image", stream=False, outcome="spilled", cost=0.25),
        result(20.0),
    ]
    row = tally.row("peak", 10, 20, sent, [], PRICE)
    assert (row.requests, row.local, row.spilled, row.shed, row.failed, row.gone) == (9, 2, 3, 1, 2, 1)
    assert (row.offered, row.share) == (0.9, 0.6)
    assert row.ttft["p50"] == pytest.approx(0.4)
    assert row.ttft["p95_local"] == pytest.approx(0.4)
    assert row.ttft["p95_spilled"] == pytest.approx(0.6)  # an answer that is not streamed has no first token
    each = (1000 * 1.0 + 100 * 2.0) / 1e6
    assert [row.spent, row.all_bought] == pytest.approx([2 * each + 0.25, 4 * each])
    assert row.cpu is None


@pytest.mark.parametrize(
    ("name", "sent", "lost", "found"),
    [
        ("ttft_p95_s", [result(1), result(2, first=2.7)], 0, 0.7),
        ("ttft_p99_s", [result(1, gone=True, first=9)], 0, None),
        ("tpot_p95_ms", [result(1, first=1.1, ended=3.08, output=100)], 0, 20.0),
        ("tpot_p95_ms", [result(1, slow=True)], 0, None),
        ("answer_p95_s", [result(1, ended=4)], 0, 3.0),
        ("failed_share", [result(1), result(2, fault="cut off")], 2, 0.75),
        ("failed_share", [result(1, gone=True, status=0)], 0, 0.0),
        ("shed_share", [result(1), result(2, status=429)], 0, 0.5),
        ("spilled_share", [result(1), result(2, outcome="fallback"), result(3, status=429)], 0, 0.5),
        ("spilled_share", [], 0, None),
        ("spilled_share_least", [result(1)], 0, 0.0),
    ],
)
def test_measures(name: str, sent: list[Result], lost: int, found: float | None) -> None:
    assert MEASURES[name](sent, lost) == (None if found is None else pytest.approx(found))


def test_every_limit_has_its_measure() -> None:
    assert MEASURES.keys() | {"leases_left"} == slo.Limits.model_fields.keys()


def test_lateness_counts_into_the_time_to_first_token() -> None:
    assert result(10.0, began=11.0, first=11.2).ttft == pytest.approx(1.2)


def test_cpu_is_the_average_over_the_span() -> None:
    seen = [Sample(float(t), cpu={"a": 10 + 0.5 * t, "b": 0.1 * t}) for t in range(20)]
    assert tally.cores_by_process(seen, 5, 15) == {"a": pytest.approx(0.5), "b": pytest.approx(0.1)}
    assert tally.cores(seen, 5, 15) == pytest.approx(0.6)
    assert tally.cores(seen, 5, 5.5) is None


FLAGGED_LEFT = {"flagged": True, "outcome": "spilled"}


@pytest.mark.parametrize(
    ("sent", "honesty", "bought", "word", "said"),
    [
        (
            results(),
            HONEST,
            None,
            "PASS",
            "540 requests: 460 local, 80 spilled; 46 flagged, none left; all 9 limits kept",
        ),
        (results(), HONEST, 80, "PASS", "none left"),
        (results(), None, None, "PASS", "none left"),
        (results(0.1), HONEST, None, "FAIL", "spilled_share_least 0.1 in peak, at least 0.2"),
        ([*results(), result(1, **FLAGGED_LEFT)], HONEST, None, "FAIL", "1 of 47 flagged requests left"),
        ([*results(), result(1, **FLAGGED_LEFT)], VOID, None, "FAIL", "flagged requests left"),
        ([*results(), result(1, fault="cut off", **FLAGGED_LEFT)], HONEST, None, "FAIL", "flagged requests left"),
        ([*results(), result(1, flagged=True, outcome="")], HONEST, None, "FAIL", "flagged requests left"),
        ([result(1, flagged=True, outcome="")], HONEST, None, "FAIL", "spilled_share_least unknown"),
        (results(), HONEST, 100, "FAIL", "the API's journal holds 100 requests, the answers account for 80"),
        (results(), VOID, None, "VOID", "p99 lateness is 0.31 of a step"),
        ([result(r.due, began=r.due + 0.3) for r in results()], HONEST, None, "VOID", "started 0.30 s late"),
        ([*results(), result(1, status=0, outcome="", fault="OSError")], HONEST, None, "FAIL", "failed_share"),
        (results() + [result(1, outcome="spilled")] * 5, HONEST, None, "FAIL", "spilled_share 0.0476 in warm"),
        (results() + [result(129, outcome="spilled")] * 5, HONEST, None, "FAIL", "in calm, at most 0.02"),
        ([*results(), result(70, status=429, outcome="")], HONEST, None, "FAIL", "shed_share"),
        ([*results(), result(70, gone=True)], HONEST, None, "PASS", "1 left by their clients"),
    ],
)
def test_verdicts(sent: list[Result], honesty: dict[str, Any], bought: int | None, word: str, said: str) -> None:
    verdict = story(sent, honesty, bought).verdict
    assert verdict.word == word, verdict
    assert said in verdict.text


def test_a_request_without_a_result_has_failed() -> None:
    assert str(story(lost=3).verdict) == "FAIL: failed_share 0.00552 in whole run, at most 0"


def test_a_lease_that_is_left_behind_fails_the_run() -> None:
    assert str(story(leases=2).verdict) == "FAIL: leases_left 2 in whole run, at most 0"


def test_a_generator_that_was_the_bottleneck_makes_the_run_void() -> None:
    seen = [Sample(float(t), cpu={"locust": 0.5 * t if t < 60 else 30 + 0.97 * (t - 60)}) for t in range(100)]
    made = tally.generator([result(1), result(2, began=2.1)], seen, 100.0)
    assert made.cpu_busiest == pytest.approx(0.97)
    assert (made.late_p50, made.late_most) == (0.0, pytest.approx(0.1))
    assert made.faults == ["the load generator used 0.97 of its one core, limit 0.9"]
    assert not tally.generator([], [], 100.0).faults


def test_the_table_has_a_line_for_each_phase() -> None:
    lines = tally.columns(*tally.table("phase", story().rows))
    assert [line.split("  ")[0] for line in lines] == ["phase", "warm", "ramp up", "peak", "ramp down", "calm"]
    assert len({len(line) for line in lines}) == 1
    assert "50.0%" in lines[3]


PAGE = """
gateway_upstream_queue_depth{backend="h100",upstream="a"} 2
gateway_upstream_queue_depth{backend="h100",upstream="b"} 3
gateway_upstream_gpu_utilisation{backend="h100",upstream="a"} 0.8
gateway_upstream_leased_share{backend="h100",upstream="a"} 0.5
gateway_upstream_leased_share{backend="h100",upstream="b"} 0.7
gateway_upstream_leased_share{backend="cloud",upstream="c"} 0.01
gateway_upstream_leases{backend="h100",upstream="a"} 8
gateway_upstream_leases{backend="h100",upstream="b"} 16
gateway_upstream_leases{backend="cloud",upstream="c"} 9
gateway_upstream_reading_age_seconds{backend="h100",upstream="a"} 0.1
gateway_upstream_reading_age_seconds{backend="h100",upstream="b"} 0.1
gateway_cost_usd_total{backend="cloud",basis="list"} 0.25
gateway_upstream_leases{backend="images",upstream="x"} 2
gateway_cost_usd_total{backend="h100",basis="amortised"} 7
"""


def test_a_metrics_page_becomes_a_sample_of_the_workers_that_serve() -> None:
    workers = [replace(worker, name=name) for worker, name in zip(RAMP.workers, "ab", strict=False)]
    seen = summary(parse(PAGE), 3.0, workers, {})
    assert seen.work == pytest.approx(0.6)
    assert seen == Sample(3.0, queue=5, leases=24, seats=0.75, work=seen.work, gpu=0.8, spent=0.25)


def test_what_nobody_published_is_unknown() -> None:
    seen = summary(parse(""), 3.0, RAMP.workers, {})
    assert (seen.queue, seen.leases, seen.seats, seen.work, seen.gpu) == (None, None, None, None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cpu_time_of_a_process_and_its_children() -> None:
    before = cpu_seconds(os.getpid())
    assert before is not None
    deadline = time.monotonic() + 5
    while (cpu_seconds(os.getpid()) or 0.0) < before + 0.05:
        assert time.monotonic() < deadline
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in family({"me": os.getpid()}).values()
        assert family({"me": os.getpid(), "it": child.pid})["it"] == child.pid
        assert list(family({"me": os.getpid(), "it": child.pid}).values()).count(child.pid) == 1
    assert cpu_seconds(child.pid) is None


@pytest.mark.parametrize(
    ("stream", "status", "content", "fault"),
    [
        (True, 200, b"data: {}\n\ndata: [DONE]\n\n", ""),
        (True, 200, b'data: {}\n\ndata: {"error":{}}\n\n', "cut off"),
        (True, 200, b"", "cut off"),
        (False, 200, b'{"choices":[]}', ""),
        (False, 200, b'{"choices":', "cut off"),
        (True, 429, b"{}", ""),
        (True, 503, b"{}", "status 503"),
        (True, 401, b"{}", "status 401"),
    ],
)
def test_what_counts_as_failed(stream: bool, status: int, content: bytes, fault: str) -> None:
    assert fault_of(Kind("chat", "m"), Job(0.0, 1, 1, stream, False), status, content) == fault


def test_results_are_read_while_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "results"
    tail = Tail(file)
    tail.read()
    assert tail.origin is None
    with file.open("wb", buffering=0) as written:
        feed = Feed(Plan("r", 1, 10.0, 1.0, (), (Kind("chat", "m"),), (Job(0.0, 1, 1, True, False),)), written)
        feed.start()
        tail.read()
        assert tail.origin is not None
        assert feed.claim() == (0, feed.plan.jobs[0])
        assert feed.claim() is None
        assert not feed.over()
        feed.done(result(1.0))
        written.write(b'{"due": 2.0, "beg')
    tail.read()
    assert tail.results == [result(1.0)]
    assert feed.over()


def test_curves() -> None:
    sent = [result(i / 10, first=i / 10 + 0.2, ended=i / 10 + 1, waited=0.5) for i in range(200)]
    at = series.grid(0, 20)
    assert series.rate(sent, lambda r: True, at, 20.0) == [pytest.approx(10, rel=0.05)] * 21
    assert series.quantile(sent, lambda r: True, at, 0.95)[5] == pytest.approx(0.2)
    assert math.isnan(series.quantile(sent, lambda r: r.left, at, 0.95)[5])
    assert series.waiting(sent, [5.01])[0] == 5
    assert series.cumulative(sent, lambda r: 1.0, [0.0, 0.95, 11.0, 30.0]) == [1, 10, 111, 200]


def test_the_fleet_was_full_while_something_was_bought_or_shed() -> None:
    def told(*spans: tuple[int, int]) -> list[Result]:
        away = {"outcome": "spilled"}
        return [result(i / 4, **(away if any(a <= i / 4 < b for a, b in spans) else {})) for i in range(800)]

    assert series.full(told(), 200) == []
    [(start, end)] = series.full(told((50, 90)), 200)
    assert (start, end) == (pytest.approx(50, abs=4), pytest.approx(90, abs=4))
    assert len(series.full(told((50, 70), (72, 90)), 200)) == 1
    assert len(series.full(told((50, 70), (120, 150)), 200)) == 2
