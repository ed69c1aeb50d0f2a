"""Metrics pages of engines: the simulator's, older and newer spellings, and broken ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.model import Scrape
from gateway.upstreams.dialects.vllm import parse_metrics
from gateway.upstreams.exposition import samples
from loadtests.simfleet.config import WorkerConfig
from loadtests.simfleet.engine import Engine
from loadtests.simfleet.metrics import Load, Stats
from loadtests.simfleet.page import Page

STARTED = 1_700_000_000.25


def vllm_page(load: Load, model: str = "m") -> str:
    config = WorkerConfig(name="w", model=model)
    return Page(config, STARTED).render(load, Engine(config), Stats(), 1.5).decode()


# the format


def test_only_what_is_asked_for_with_labels_and_values() -> None:
    page = '# HELP a text\n# TYPE a gauge\na{x="1",y="a\\"b"} 2.5 1700000000\na 3\nab 4\nb{} 5\n'
    found = list(samples(page, frozenset({"a", "b"})))
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
    assert list(samples(f"{line}\na 1\n", frozenset({"a"})))[-1].value == 1
    assert len(list(samples(line, frozenset({"a"})))) == 0


@given(st.text(max_size=200))
def test_any_page_is_read(page: str) -> None:
    list(samples("a" + page + "\na{" + page, frozenset({"a"})))


def test_it_agrees_with_the_official_parser() -> None:
    page = vllm_page(Load(3, 4, 0.5), 'odd "name" {with} braces')
    names = frozenset({"vllm:num_requests_running", "vllm:kv_cache_usage_perc", "vllm:e2e_request_latency_seconds_sum"})
    official = [
        (sample.name, sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in names
    ]
    assert [(sample.name, sample.value) for sample in samples(page, names)] == official


# vLLM


def test_a_page_of_the_simulated_worker() -> None:
    assert parse_metrics(vllm_page(Load(3, 14, 0.625))) == Scrape(
        running=3, waiting=14, kv=0.625, kv_tokens=32_000, started=STARTED
    )
    assert parse_metrics(vllm_page(Load())) == Scrape(running=0, waiting=0, kv=0.0, kv_tokens=32_000, started=STARTED)


def test_an_older_name_is_understood_and_the_newer_one_preferred() -> None:
    old = 'vllm:num_requests_running{model_name="m"} 2.0\nvllm:gpu_cache_usage_perc{model_name="m"} 0.25\n'
    assert parse_metrics(old) == Scrape(running=2, kv=0.25)
    assert parse_metrics(old + 'vllm:kv_cache_usage_perc{model_name="m"} 0.5\n').kv == 0.5


def test_engines_of_one_server_are_added_and_the_fullest_cache_counts() -> None:
    lines = [
        f'vllm:{name}{{engine="{engine}"}} {value}'
        for engine in (0, 1)
        for name, value in (
            ("num_requests_running", 2 + engine),
            ("num_requests_waiting", engine),
            ("kv_cache_usage_perc", 0.2 + engine / 2),
        )
    ]
    assert parse_metrics("\n".join(lines)) == Scrape(running=5, waiting=1, kv=0.7)


@pytest.mark.parametrize(
    ("labels", "tokens"),
    [
        ('kv_cache_size_tokens="2097152",block_size="128",num_gpu_blocks="16384"', 2_097_152),  # vLLM 0.32
        ('block_size="16",num_gpu_blocks="2000"', 32_000),  # before it was told in tokens
        ('block_size="16",num_gpu_blocks="None"', None),
        ('kv_cache_size_tokens="None",block_size="16"', None),
    ],
)
def test_room_in_the_cache(labels: str, tokens: int | None) -> None:
    assert parse_metrics(f"vllm:cache_config_info{{{labels}}} 1.0").kv_tokens == tokens


@pytest.mark.parametrize("page", ["", "# HELP x y\n", "<html>404</html>", 'vllm:num_requests_runing{engine="0"} 7\n'])
def test_what_is_not_published_is_unknown_never_zero(page: str) -> None:
    scrape = parse_metrics(page)
    assert (scrape.running, scrape.waiting, scrape.kv, scrape.started) == (None, None, None, None)
