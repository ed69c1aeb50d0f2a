"""The two metrics pages, read by the official parser and compared with what vLLM 0.32 and the DCGM exporter print."""

from __future__ import annotations

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from loadtests.simfleet.config import WorkerConfig
from loadtests.simfleet.dcgm import GpuReading, render
from loadtests.simfleet.engine import Engine, Sequence
from loadtests.simfleet.metrics import Load, Stats
from loadtests.simfleet.page import Page

REQUEST_S = (
    "0.3 0.5 0.8 1.0 1.5 2.0 2.5 5.0 10.0 15.0 20.0 30.0 40.0 50.0 60.0 120.0 240.0 480.0 960.0 1920.0 7680.0 +Inf"
)
PER_TOKEN_S = "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0 +Inf"
TOKENS = "1.0 2.0 5.0 10.0 20.0 50.0 100.0 200.0 500.0 1000.0 2000.0 +Inf"
BUCKETS = {
    "time_to_first_token_seconds": (
        "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0 "
        "160.0 640.0 2560.0 +Inf"
    ),
    "inter_token_latency_seconds": PER_TOKEN_S,
    "request_time_per_output_token_seconds": PER_TOKEN_S,
    "e2e_request_latency_seconds": REQUEST_S,
    "request_queue_time_seconds": REQUEST_S,
    "request_inference_time_seconds": REQUEST_S,
    "request_prefill_time_seconds": REQUEST_S,
    "request_decode_time_seconds": REQUEST_S,
    "request_prompt_tokens": TOKENS,
    "request_generation_tokens": TOKENS,
    "request_params_max_tokens": TOKENS,
    "request_params_n": "1.0 2.0 5.0 10.0 20.0 +Inf",
    "request_num_preemptions": "1.0 2.0 3.0 4.0 5.0 10.0 20.0 +Inf",
    "iteration_tokens_total": "1.0 8.0 16.0 32.0 64.0 128.0 256.0 512.0 1024.0 2048.0 4096.0 8192.0 16384.0 +Inf",
}
SCALARS = {
    "vllm:num_requests_running": "gauge",
    "vllm:num_requests_waiting": "gauge",
    "vllm:num_requests_waiting_by_reason": "gauge",
    "vllm:kv_cache_usage_perc": "gauge",
    "vllm:cache_config_info": "gauge",
    "vllm:engine_sleep_state": "gauge",
    "vllm:num_preemptions": "counter",
    "vllm:prompt_tokens": "counter",
    "vllm:generation_tokens": "counter",
    "vllm:request_success": "counter",
    "vllm:prefix_cache_queries": "counter",
    "vllm:prefix_cache_hits": "counter",
    "process_start_time_seconds": "gauge",
}
CONFIG = WorkerConfig(name="w", model='a "quoted" model', max_num_seqs=4)
LABELS = {"engine": "0", "model_name": CONFIG.model}


def families(load: Load = Load(), stats: Stats | None = None) -> dict[str, Metric]:  # noqa: B008 (frozen)
    page = Page(CONFIG, 1_700_000_000.25).render(load, Engine(CONFIG), stats or Stats(), 1.5)
    return {family.name: family for family in text_string_to_metric_families(page.decode())}


@pytest.mark.parametrize(("name", "kind"), SCALARS.items())
def test_scalars_have_vllms_names_and_kinds(name: str, kind: str) -> None:
    assert families()[name].type == kind


@pytest.mark.parametrize(("name", "edges"), BUCKETS.items())
def test_histograms_have_vllms_buckets_and_labels(name: str, edges: str) -> None:
    family = families()[f"vllm:{name}"]
    assert family.type == "histogram"
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket")]
    assert " ".join(sample.labels["le"] for sample in buckets) == edges
    for sample in family.samples:
        assert {key: value for key, value in sample.labels.items() if key != "le"} == LABELS


def test_no_series_that_vllm_does_not_have() -> None:
    known = {*SCALARS, *(f"vllm:{name}" for name in BUCKETS), "process_cpu_seconds"}
    assert {name.removesuffix("_created") for name in families()} == known


def test_gauges_counters_and_cache_configuration_carry_values() -> None:
    found = families(Load(running=3, waiting=2, kv=0.25))
    values = {name: found[f"vllm:{name}"].samples[0].value for name in ("num_requests_running", "num_requests_waiting")}
    assert values == {"num_requests_running": 3.0, "num_requests_waiting": 2.0}
    assert found["vllm:kv_cache_usage_perc"].samples[0].value == 0.25
    assert found["process_start_time_seconds"].samples[0].value == 1_700_000_000.25
    info = found["vllm:cache_config_info"].samples[0].labels
    assert (info["block_size"], info["num_gpu_blocks"]) == ("16", "2000")
    reasons = [sample.labels["finished_reason"] for sample in found["vllm:request_success"].samples]
    assert reasons == ["stop", "length", "abort", "error", "repetition"]


def test_one_request_leaves_its_times_in_every_histogram() -> None:
    stats, engine = Stats(), Engine(CONFIG)
    sequence = Sequence(prompt_tokens=100, output_tokens=5, arrival=-1.0)
    engine.add(sequence)
    now = 0.0
    while step := engine.begin(now):
        now = step.end
        stats.step(step)
        for gained in engine.complete(step):
            stats.token(gained, now)
    stats.ended(sequence, "length")
    found = families(stats=stats)

    def total(name: str, suffix: str) -> float:
        return next(s.value for s in found[f"vllm:{name}"].samples if s.name == f"vllm:{name}_{suffix}")

    assert total("time_to_first_token_seconds", "sum") == pytest.approx(1.046)
    assert total("request_queue_time_seconds", "sum") == pytest.approx(1.0)
    assert total("inter_token_latency_seconds", "count") == 4
    assert total("request_time_per_output_token_seconds", "sum") == pytest.approx(0.0425)
    assert total("e2e_request_latency_seconds", "sum") == pytest.approx(1.046 + 4 * 0.0425)
    assert total("prompt_tokens", "total") == 100
    assert total("generation_tokens", "total") == 5
    assert total("iteration_tokens_total", "count") == 5
    first = [s for s in found["vllm:time_to_first_token_seconds"].samples if s.name.endswith("_bucket")]
    assert [s.value for s in first if s.labels["le"] in ("1.0", "2.5", "+Inf")] == [0.0, 1.0, 1.0]


def test_dcgm_duty_cycle_jumps_while_sm_activity_follows_the_batch() -> None:
    loads = [Load(0), Load(1), Load(8), Load(16), None]
    page = render("node-1", [GpuReading(i, load, 16, xid=0 if load else 79) for i, load in enumerate(loads)])
    found = {family.name: family.samples for family in text_string_to_metric_families(page.decode())}
    assert [sample.value for sample in found["DCGM_FI_DEV_GPU_UTIL"]] == [0, 97, 97, 97, 0]
    idle, one, half, full, dead = (sample.value for sample in found["DCGM_FI_PROF_SM_ACTIVE"])
    assert 0 == idle == dead < one < half < full <= 1
    used = [sample.value for sample in found["DCGM_FI_DEV_FB_USED"]]
    free = [sample.value for sample in found["DCGM_FI_DEV_FB_FREE"]]
    assert used[:4] == [used[0]] * 4  # the server takes its memory at start
    assert used[4] == 0
    assert {u + f for u, f in zip(used, free, strict=True)} == {81559}
    assert [sample.value for sample in found["DCGM_FI_DEV_XID_ERRORS"]] == [0, 0, 0, 0, 79]
    labels = found["DCGM_FI_DEV_POWER_USAGE"][2].labels
    assert (labels["gpu"], labels["device"], labels["modelName"]) == ("2", "nvidia2", "NVIDIA H100 80GB HBM3")
    assert {"UUID", "pci_bus_id", "Hostname", "DCGM_FI_DRIVER_VERSION"} <= set(labels)
    assert "DCGM_FI_DEV_GPU_TEMP" in found
    assert "DCGM_FI_PROF_DRAM_ACTIVE" in found
