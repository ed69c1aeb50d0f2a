"""From samples to a verdict: each line of it can fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.bench import table
from loadtests.bench.proc import parse_pss
from loadtests.soak.judge import Run, answers, growth_mb, judge, rows, sentences
from loadtests.soak.load import Tally
from loadtests.soak.watch import Sample, loud_lines

MB = 1_000_000
REST = Sample(0, 0, 0, 1, 60 * MB, 60 * MB, 40 * MB, 5 * MB, 20, 9, 0, 0, 0, 0, 0, 1.0)


def run(**changed: object) -> Run:
    samples = [replace(REST, at=at + 5.0, sent=at, active=9, leased=9, shown=8, held=9) for at in range(0, 600, 10)]
    tally = Tally(sent=600)
    tally.answers.update({("chat", "local"): 500, ("chat", "fleet_saturated"): 10, ("messages", "spilled"): 40})
    tally.left["by reset"] = 30
    made = Run(600.0, 30.0, 1, REST, samples, replace(REST, at=610.0, cpu_seconds=61.0), tally, [], 60.0)
    return replace(made, **changed)  # type: ignore[arg-type]


def failing(made: Run) -> list[str]:
    return [line.what for line in judge(made) if not line.holds]


def test_a_good_run() -> None:
    assert failing(run()) == []
    assert table.exit_code(judge(run()), []) == 0


def grown(made: Run, first: float, size: int) -> Run:
    samples = [replace(one, heap=one.heap + size * MB) if one.at >= first else one for one in made.samples]
    return replace(made, samples=samples)


@pytest.mark.parametrize(("first", "size", "found"), [(540, 6, 6.0), (540, -6, -6.0), (0, 6, 0.0), (580, 60, 0.0)])
def test_growth_is_the_last_tenth_over_the_second(first: float, size: int, found: float) -> None:
    assert growth_mb(grown(run(), first, size)) == [pytest.approx(found)]


def test_each_line_fails() -> None:
    good = run()
    many = [replace(one, held=one.leased + 20) if one.at > 540 else one for one in good.samples]
    late = [replace(one, shown=one.shown + 20) if one.at > 540 else one for one in good.samples]
    fat = [replace(good.samples[0], worst=121 * MB), *good.samples[1:]]
    bad = Tally(sent=9, wrong_count=1)
    refused = Tally(sent=9)
    refused.answers.update({("chat", "local"): 90, ("chat", "fleet_saturated"): 10})
    after = good.after
    assert after is not None
    table_of = {
        "heap": grown(good, 540, 6),
        "memory of the largest": replace(good, samples=fat),
        "descriptors": replace(good, after=replace(after, descriptors=25)),
        "tasks": replace(good, after=replace(after, tasks=12)),
        "leases in the store": replace(good, samples=many),
        "leases on /metrics against": replace(good, samples=late),
        "leases left in the store": replace(good, after=replace(after, leased=1)),
        "leases left on /metrics": replace(good, after=replace(after, shown=1)),
        "requests left": replace(good, after=replace(after, held=1)),
        "receipts": replace(good, after=replace(after, dropped=1)),
        "errors": replace(good, loud=["?"]),
        "answers neither": replace(good, tally=bad),
        "refused": replace(good, tally=refused),
    }
    for what, made in table_of.items():
        assert any(told.startswith(what) for told in failing(made)), what
    assert len(table_of) == len(judge(good))


@pytest.mark.parametrize(("bad", "holds"), [(0, True), (3, True), (4, False)])
def test_a_few_bad_samples_fail_the_line(bad: int, holds: bool) -> None:
    """3 of 60 are a twentieth: the machine may stand still between two readings."""
    good = run()
    samples = [replace(one, leased=one.held + 9) for one in good.samples[:bad]] + list(good.samples[bad:])
    made = replace(good, samples=samples)
    assert (failing(made) == []) == holds


def test_what_several_processes_may_take_together() -> None:
    made = grown(run(), 540, 6)
    assert failing(made) == ["heap, last minute over the second"]
    assert failing(replace(made, workers=2)) == []
    big = [replace(one, memory=180 * MB, worst=90 * MB) for one in made.samples]
    assert failing(replace(run(workers=2), samples=big)) == []


def test_a_run_that_broke_off_has_a_verdict() -> None:
    made = run(after=None, ended=["the gateway ended (code -9, ?)"], samples=[])
    assert table.exit_code(judge(made), made.ended) == 1
    assert table.exit_code(judge(made), []) == 2, "what could not be measured does not hold"
    assert len(rows(made)) == 1
    assert len(sentences(made)) == 2


def test_expected_errors_are_no_refusals() -> None:
    tally = Tally(sent=9)
    tally.answers.update({("chat", "local"): 90, ("no such model", "model_not_found"): 10})
    assert failing(run(tally=tally)) == []


def test_the_tables() -> None:
    made = run()
    assert len(rows(made)) <= 26
    assert rows(made)[0][0] == "0"
    assert rows(made)[-1][0] == "610"
    assert {row[0]: row[1] for row in answers(made.tally)}["chat"] == "500"
    assert "30 clients left (5.0 %): by reset 30" in sentences(made)[0]


def test_lines_of_the_log_that_count() -> None:
    log = 'gateway on http://127.0.0.1:1\n{"level": "info"}\n{"level": "error", "event": "x"}\nTraceback (most\n\n[1]\n'
    assert loud_lines(log) == ['{"level": "error", "event": "x"}', "Traceback (most", "[1]"]


def test_memory_without_mapped_files() -> None:
    text = "Rss: 9 kB\nPss:               70 kB\nPss_Anon:      60 kB\n"
    assert (parse_pss(text), parse_pss(text, "Pss_Anon")) == (70 * 1024, 60 * 1024)
