"""The Prometheus text format: what is found on a page, and what a lie or a broken line becomes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.upstreams.dialects.dcgm import parse_gpus
from gateway.upstreams.exposition import Gauges, samples
from loadtests.simfleet.config import WorkerConfig
from loadtests.simfleet.engine import Engine
from loadtests.simfleet.metrics import Load, Stats
from loadtests.simfleet.page import Page

STARTED = 1_700_000_000.25


def vllm_page(load: Load, model: str = "m") -> bytes:
    config = WorkerConfig(name="w", model=model)
    return Page(config, STARTED).render(load, Engine(config), Stats(), 1.5)


# the format


def test_only_what_is_asked_for_with_labels_and_values() -> None:
    page = b'# HELP a text\n# TYPE a gauge\na{x="1",y="a\\"b"} 2.5 1700000000\na 3\nab 4\nb{} 5\n'
    found = list(samples(page, ("a", "b")))
    assert [(s.name, dict(s.labels), s.value) for s in found] == [
        ("a", {"x": "1", "y": 'a\\"b'}, 2.5),
        ("a", {}, 3.0),
        ("b", {}, 5.0),
    ]


@pytest.mark.parametrize(
    "line",
    ["a", "a ", "a{", 'a{x="1"', 'a{x="1"} ', "a word", "a NaN", "a nan", "a +Inf", "a -Inf", "a 9223372036854775794"],
)
def test_a_line_that_says_nothing_is_skipped(line: str) -> None:
    assert list(samples(f"{line}\na 1\n".encode(), ("a",)))[-1].value == 1
    assert len(list(samples(line.encode(), ("a",)))) == 0


def test_a_longer_name_that_begins_alike_is_another_metric() -> None:
    page = b'a_by_reason{reason="x"} 7\n# HELP a text\n# TYPE a gauge\na_by{reason="y"} 8\na{} 1\na{} 2\nab 9\n'
    assert [sample.value for sample in samples(page, ("a",))] == [1.0, 2.0]


@given(st.binary(max_size=200))
def test_any_page_is_read(page: bytes) -> None:
    for made in (page, b"a" + page + b"\na{" + page, b"a 1\n" + page):
        list(samples(made, ("a",)))
        gauges = Gauges(made)
        gauges.count("a"), gauges.amount("a"), gauges.share("a"), gauges.started(), gauges.labels("a")


NAMES = st.sampled_from(["a", "b", "a_b", "vllm:a"])
LABELS = st.dictionaries(st.sampled_from(["x", "y_z"]), st.text("abc {}=,", max_size=5), max_size=2)
VALUES = st.floats(-1e6, 1e6)


@given(st.dictionaries(NAMES, st.lists(st.tuples(LABELS, VALUES), min_size=1, max_size=3)))
def test_what_was_written_is_read_back(families: dict[str, list[tuple[dict[str, str], float]]]) -> None:
    """Each metric in one piece, as the format demands, with its comments."""
    lines = ["# a page"]
    for name, rows in families.items():
        lines += [f"# HELP {name} {name} 3", f"# TYPE {name} gauge"]
        for labels, value in rows:
            shown = ",".join(f'{key}="{text}"' for key, text in labels.items())
            lines.append(f"{name}{{{shown}}} {value!r}" if labels else f"{name} {value!r}")
    page = ("\n".join(lines) + "\n").encode()
    for name, rows in families.items():
        assert [(one.labels, one.value) for one in samples(page, (name,))] == rows
    assert not list(samples(page, ("c", "a_")))


def cpu(run: Callable[[], object]) -> float:
    """Least CPU seconds of some runs."""
    taken = []
    for _ in range(9):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return min(taken)


def parse_engine(labels: str) -> object:
    return list(samples(f"a{{{labels}}} 1\n".encode(), ["a"]))


def parse_node(labels: str) -> object:
    return parse_gpus(f"DCGM_FI_DEV_GPU_UTIL{{{labels}}} 1\n")


@pytest.mark.parametrize("parse", [parse_engine, parse_node])
@pytest.mark.parametrize("part", ["a", "a,", 'a="', 'a="\\', "=", '"', "a=", "\\"])
def test_labels_take_time_by_their_length_and_not_by_its_square(parse: Callable[[str], object], part: str) -> None:
    short, long = (part * (size // len(part)) for size in (1_000, 8_000))
    assert cpu(lambda: parse(long)) < 24 * cpu(lambda: parse(short)), "eight times as long; its square were 64"


def test_labels_longer_than_any_engines_are_not_read() -> None:
    assert list(samples(b'a{x="%s"} 1\na{x="y"} 2\n' % (b"z" * 70_000), ["a"]))[1].labels == {"x": "y"}
    page = 'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="%s"} 1\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} 2\n' % ("z" * 9_000)
    assert [one.sample.index for one in parse_gpus(page)] == [1]


def test_it_agrees_with_the_official_parser() -> None:
    page = vllm_page(Load(3, 4, 0.5), 'odd "name" {with} braces')
    names = ("vllm:num_requests_running", "vllm:kv_cache_usage_perc", "vllm:e2e_request_latency_seconds_sum")
    official = [
        (sample.name, sample.value)
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if sample.name in names
    ]
    assert sorted((sample.name, sample.value) for sample in samples(page, names)) == sorted(official)


# gauges


@pytest.mark.parametrize("value", ["NaN", "-1", "+Inf", "1e300", "9223372036854775807", "word", ""])
def test_a_gauge_that_makes_no_sense_is_unknown_and_named(value: str) -> None:
    gauges = Gauges(f'a{{engine="0"}} 3\na{{engine="1"}} {value}\nb {value}\n'.encode())
    assert (gauges.count("a"), gauges.share("b"), gauges.amount("b")) == (None, None, None)
    assert gauges.missing == ["a", "b"]


def test_a_share_is_that_of_the_fullest_and_may_round_above_one() -> None:
    gauges = Gauges(b'kv{engine="0"} 0.25\nkv{engine="1"} 1.0000001\nold 0.5\n')
    assert (gauges.share("kv"), gauges.share("new", "old")) == (1.0, 0.5)
    assert gauges.missing == []


def test_the_first_name_that_is_there_counts() -> None:
    gauges = Gauges(b"new 0\nold 7\n")
    assert (gauges.count("new", "old"), gauges.count("newest", "old"), gauges.count("x", "y")) == (0, 7, None)
    assert gauges.missing == ["x"]
