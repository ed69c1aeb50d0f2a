"""What each engine's pages say, page by page: values, what is missing, and that no bytes at all can break a reader."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from engine_pages import (
    ITERATION,
    NIM_PAGE,
    SGLANG_PAGE,
    STARTED,
    SURFACES,
    TRTLLM_PAGE,
    VLLM_PAGE,
    models,
    told,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Scrape
from gateway.policy.worker_schema import EngineName
from gateway.routing.capability import AUTO, BY_ENGINE
from gateway.upstreams.dialects.engines import comfyui, common, llamacpp, nim, sglang, triton, trtllm, vllm
from gateway.upstreams.dialects.engines.table import ENGINES, candidates, paths, recognise

PAGES = [(engine, page) for engine in ENGINES.values() for page in engine.pages]
DETAILS = [(engine, detail) for engine in ENGINES.values() for detail in engine.details]


# the table


def test_every_engine_of_the_policy_has_a_row_here_and_one_of_what_it_speaks() -> None:
    assert set(ENGINES) | {AUTO, "openai"} == set(get_args(EngineName)) == set(BY_ENGINE)
    assert set(SURFACES) == set(ENGINES)


@pytest.mark.parametrize("name", SURFACES)
def test_each_engine_is_known_by_its_page_and_by_no_other_ones(name: str) -> None:
    """At the first of its pages that a search comes to."""
    path = next(path for path in paths(ENGINES.values()) if path in SURFACES[name])
    found = recognise(ENGINES.values(), SURFACES[name][path][1], path)
    assert found is not None
    assert found[0].name == name


@pytest.mark.parametrize("page", [b"", b"<html>not here</html>", b"{}", b"# HELP x y\nprocess_start_time_seconds 1\n"])
def test_what_is_no_engines_page_is_nobodys(page: bytes) -> None:
    assert recognise(ENGINES.values(), page) is None


def test_a_stated_engine_is_the_only_candidate() -> None:
    assert candidates("tgi") == (ENGINES["tgi"],)
    assert candidates(AUTO) == candidates(None) == tuple(ENGINES.values())
    assert next(iter(paths(candidates(AUTO)))) == "/metrics"


# readings


VLLM = Scrape(running=5, waiting=1, kv=0.7, kv_tokens=32_000, started=STARTED)


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("vllm", "/metrics", VLLM),
        ("sglang", "/metrics", Scrape(running=5, waiting=4, kv=0.5, kv_tokens=2000)),
        ("trtllm", "/prometheus/metrics", Scrape(running=5, waiting=2, kv=0.5, kv_tokens=3200, seats=64)),
        ("trtllm", "/metrics", Scrape(running=5, waiting=2, kv=0.5, kv_tokens=3200, seats=64)),
        ("triton", "/metrics", Scrape(running=6, waiting=1, kv=0.25, kv_tokens=6400, seats=512)),
        ("tgi", "/metrics", Scrape(running=4, waiting=3)),
        ("nim", "/v1/metrics", Scrape(running=3, waiting=1, kv=0.5, seats=128, started=STARTED)),
        ("vllm-omni", "/metrics", Scrape(running=1, waiting=2, started=STARTED)),
        ("sglang-diffusion", "/metrics", Scrape(running=1, waiting=2)),
        ("comfyui", "/prompt", Scrape(running=1, waiting=2, seats=1)),
    ],
)
def test_readings(name: str, path: str, expected: Scrape) -> None:
    body = SURFACES[name][path][1]
    found = recognise([ENGINES[name]], body, path)
    assert found is not None
    assert found[1].read(body) == expected


def test_llama_does_not_tell_its_cache_any_more_and_older_builds_did() -> None:
    page = SURFACES["llamacpp"]["/metrics"][1]
    assert llamacpp.read(page) == Scrape(running=2, waiting=5)
    assert llamacpp.read(page + b"llamacpp:kv_cache_usage_ratio 0.5\n").kv == 0.5


def test_llama_without_metrics_tells_its_slots() -> None:
    slots = json.dumps([{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}]).encode()
    assert llamacpp.read_slots(slots) == Scrape(running=1, seats=2, missing=("llamacpp:requests_deferred",))


def test_vllm_older_names_are_understood_and_the_newer_ones_preferred() -> None:
    old = 'vllm:num_requests_running{model_name="m"} 2.0\nvllm:gpu_cache_usage_perc{model_name="m"} 0.25\n'
    assert vllm.read(old.encode()) == Scrape(running=2, kv=0.25, missing=("vllm:num_requests_waiting",))
    assert vllm.read((old + 'vllm:kv_cache_usage_perc{model_name="m"} 0.5\n').encode()).kv == 0.5


@pytest.mark.parametrize(
    ("labels", "tokens"),
    [
        ('kv_cache_size_tokens="2097152",block_size="128",num_gpu_blocks="16384"', 2_097_152),  # vLLM 0.32
        ('block_size="16",num_gpu_blocks="2000"', 32_000),  # before it was told in tokens
        ('block_size="16",num_gpu_blocks="None"', None),
        ('kv_cache_size_tokens="None",block_size="16"', None),
        ('kv_cache_size_tokens="99999999999999999999"', None),
        ('block_size="16",num_gpu_blocks="-1"', None),
    ],
)
def test_room_in_the_cache(labels: str, tokens: int | None) -> None:
    assert vllm.read(f"vllm:cache_config_info{{{labels}}} 1.0".encode()).kv_tokens == tokens


@pytest.mark.parametrize(("state", "asleep"), [("awake", False), ("weights_offloaded", True), ("discard_all", True)])
def test_a_vllm_that_sleeps(state: str, asleep: bool) -> None:
    lines = [f'vllm:engine_sleep_state{{engine="0",sleep_state="{s}"}} {float(s == state)}' for s in ("awake", state)]
    assert vllm.read("\n".join(dict.fromkeys(lines)).encode()).asleep is asleep


@pytest.mark.parametrize(
    ("page", "tokens"),
    [
        (
            'sglang:page_size{tp_rank="0"} 16\nsglang:num_pages{tp_rank="0"} 100\nsglang:num_pages{tp_rank="1"} 100\n',
            1600,
        ),
        ('sglang:cache_config_info{page_size="16",num_pages="50",tp_rank="0"} 1\n', 800),
        ('sglang:cache_config_info{page_size="",num_pages="50"} 1\n', None),
        ("sglang:num_pages 100\n", None),
    ],
)
def test_sglang_tells_its_room_in_several_ways(page: str, tokens: int | None) -> None:
    assert sglang.read(page.encode()).kv_tokens == tokens


def test_sglang_without_metrics_tells_its_loads() -> None:
    rank = {"num_running_reqs": 2, "num_waiting_reqs": 1, "token_usage": 0.5, "max_total_num_tokens": 1000}
    page = json.dumps({"version": "0.5.23", "loads": [{"dp_rank": 0, **rank}, {"dp_rank": 1, **rank}]}).encode()
    assert recognise([ENGINES["sglang"]], page, "/v1/loads?include=core") is not None
    assert sglang.read_loads(page) == Scrape(running=4, waiting=2, kv=0.5, kv_tokens=2000)


def test_records_of_trtllm_the_newest_counts_and_none_means_idle() -> None:
    page = json.dumps([{**ITERATION, "numActiveRequests": 60}, ITERATION]).encode()
    assert trtllm.read_iterations(page).running == 5
    assert trtllm.read_iterations(b"[]") == Scrape(running=0, waiting=0)
    liar = json.dumps([{**ITERATION, "numActiveRequests": -3, "kvCacheStats": {"maxNumBlocks": 0}}]).encode()
    assert trtllm.read_iterations(liar) == Scrape(waiting=2, seats=64, missing=("numActiveRequests",))


def test_an_older_trtllm_without_gauges_is_read_by_its_records() -> None:
    assert recognise([ENGINES["trtllm"]], b"trtllm_request_success_total 5\n", "/prometheus/metrics") is None


def test_the_kv_room_of_triton_is_that_of_each_model_added_up() -> None:
    row = 'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="%s",model="%s",version="%s"} %d\n'
    pools = (("a", "1", 64, 100), ("b", "1", 32, 1000), ("b", "2", 32, 10))
    kinds = [("tokens_per", 2), ("max", 3)]
    page = "".join(row % (kind, *pool[:2], pool[at]) for kind, at in kinds for pool in pools)
    assert triton.read(page.encode()).kv_tokens == 64 * 100 + 32 * 1000 + 32 * 10
    assert triton.read((page + row % ("max", "c", "1", 5)).encode()).kv_tokens is None, "one does not tell"


@pytest.mark.parametrize(("swapped", "waiting"), [("", 3), ("2", 5), ("NaN", 3), ("9e9", 3)])
def test_who_was_swapped_out_by_the_older_vllm_waits(swapped: str, waiting: int) -> None:
    page = 'vllm:num_requests_running{engine="0"} 1\nvllm:num_requests_waiting{engine="0"} 3\n'
    page += f'vllm:num_requests_swapped{{engine="0"}} {swapped}\n' if swapped else ""
    found = vllm.read(page.encode())
    assert (found.waiting, "vllm:num_requests_swapped" in found.missing) == (waiting, False)


def test_plain_triton_tells_only_who_waits() -> None:
    page = b'nv_inference_pending_request_count{model="a"} 2\nnv_inference_pending_request_count{model="b"} 1\n'
    assert triton.read(page) == Scrape(
        waiting=3, missing=("nv_trt_llm_request_metrics", "nv_trt_llm_kv_cache_block_metrics")
    )


def test_a_nim_that_wraps_vllm_passes_its_names_on() -> None:
    found = recognise([ENGINES["nim"]], VLLM_PAGE.encode(), "/v1/metrics")
    assert found is not None
    assert found[1].read(VLLM_PAGE.encode()) == VLLM
    assert nim.read(NIM_PAGE.encode()).running == 3


@pytest.mark.parametrize(
    ("remaining", "running", "waiting"), [(0, 0, 0), (1, 1, 0), (7, 1, 6), (-1, None, None), (10**9, None, None)]
)
def test_comfyui_runs_one_job_at_a_time(remaining: int, running: int | None, waiting: int | None) -> None:
    found = comfyui.read(told({"exec_info": {"queue_remaining": remaining}})[1])
    assert (found.running, found.waiting) == (running, waiting)
    assert found.missing == (() if running is not None else ("queue_remaining",))


@pytest.mark.parametrize(
    ("page", "read"), [(VLLM_PAGE, vllm.read), (SGLANG_PAGE, sglang.read), (TRTLLM_PAGE, trtllm.read)]
)
@pytest.mark.parametrize("lie", ["NaN", "-7.0", "1e19", "+Inf"])
def test_a_lie_is_unknown_never_a_load(page: str, read: Any, lie: str) -> None:
    lines = [f"{line.rpartition(' ')[0]} {lie}" if line[:1] != "#" else line for line in page.splitlines()]
    found = read("\n".join(lines).encode())
    assert (found.running, found.waiting, found.kv, found.started) == (None, None, None, None)
    assert len(found.missing) == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.path if hasattr(one, "path") else None)
@given(noise=st.binary(max_size=200))
def test_no_bytes_break_a_page(page: tuple[Any, Any], noise: bytes) -> None:
    surface = b"".join(body for _, body in SURFACES[page[0].name].values())
    for body in (noise, surface + noise, noise + surface, surface.replace(b"1", noise[:3]), b'{"loads":[' + noise):
        page[1].mine(body)
        scrape = page[1].read(body)
        assert all(value is None or value >= 0 for value in (scrape.running, scrape.waiting, scrape.kv, scrape.seats))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "id", "parent", "version", "loads", "exec_info", "queue_remaining", "total_slots"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(DETAILS), st.sampled_from([200, 404, 503, 302]), JSON.map(json.dumps).map(str.encode) | st.binary()
)
def test_no_body_breaks_a_detail_and_what_it_tells_fits_a_scrape(
    one: tuple[Any, Any], status: int, body: bytes
) -> None:
    changes = one[1].read(status, body)
    replace(Scrape(), **changes)
    assert changes.get("seats") is None or 0 < changes["seats"] <= common.MOST_SEATS


@given(JSON.map(json.dumps).map(str.encode))
def test_no_json_breaks_a_page(body: bytes) -> None:
    for _, page in PAGES:
        page.mine(body)
        page.read(body)


# details


def test_models_and_adapters() -> None:
    assert common.read_models(*models("base", tuned="base")) == {"models": ("base", "tuned"), "adapters": ("tuned",)}
    assert common.read_models(404, models("base")[1]) == {}


@pytest.mark.parametrize("names", [["x" * (common.LONGEST_NAME + 1)], [str(i) for i in range(common.MOST_MODELS + 1)]])
def test_a_list_of_models_that_nobody_should_keep_is_unknown(names: list[str]) -> None:
    assert common.read_models(*models(*names)) == {"models": None, "adapters": ()}


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, {"healthy": True}), (503, {"healthy": False, "reason": "not_ready"}), (404, {}), (500, {})],
)
def test_health(status: int, expected: dict[str, object]) -> None:
    assert common.read_health(status, b"") == expected
