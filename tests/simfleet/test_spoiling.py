"""Pages that lie, streams that stall, storms and resets, GPUs that fail: from the client's side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtests.simfleet.harness import SimFault, SimFleet, start

from .conftest import FAST, chat
from .test_worker import long

RUNNING = "vllm:num_requests_running"


def page(fleet: SimFleet, http: httpx.Client, worker: int = 0) -> httpx.Response:
    return http.get(f"{fleet.workers[worker].url}/metrics")


def samples(text: str, name: str) -> list[Any]:
    return [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]


@pytest.mark.parametrize(
    ("show", "status", "kind"),
    [("html", 200, "text/html"), ("redirect", 307, "application/json"), ("error", 500, "application/json")],
)
def test_something_else_than_metrics(fleet: SimFleet, http: httpx.Client, show: str, status: int, kind: str) -> None:
    fleet.config(fleet.workers[0].name, metrics={"show": show, "location": "http://127.0.0.1:1/"})
    answer = page(fleet, http)
    assert (answer.status_code, answer.headers["content-type"]) == (status, kind)
    assert answer.headers.get("location") == ("http://127.0.0.1:1/" if show == "redirect" else None)
    fleet.config(fleet.workers[0].name, metrics=None)
    assert samples(page(fleet, http).text, RUNNING)


@pytest.mark.parametrize(("show", "value"), [("negative", "-1.0"), ("nan", "NaN"), ("absurd", "1e+300")])
def test_gauges_that_lie(fleet: SimFleet, http: httpx.Client, show: str, value: str) -> None:
    fleet.config(fleet.workers[0].name, metrics={"show": show})
    lines = page(fleet, http).text.splitlines()
    (told,) = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{RUNNING}{{")]
    assert told == value


def test_ten_megabytes_with_the_truth_at_their_end(fleet: SimFleet, http: httpx.Client) -> None:
    fleet.config(fleet.workers[0].name, metrics={"show": "big"})
    answer = page(fleet, http)
    assert len(answer.content) > 10_000_000
    assert answer.text.rindex(RUNNING) > 9_000_000


def test_metrics_renamed_and_removed(fleet: SimFleet, http: httpx.Client) -> None:
    fault = {"rename": {RUNNING: "vllm:requests_running"}, "remove": ["vllm:num_requests_waiting", "vllm:kv_"]}
    fleet.config(fleet.workers[0].name, metrics=fault)
    text = page(fleet, http).text
    assert samples(text, "vllm:requests_running")
    assert not any(samples(text, name) for name in (RUNNING, "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"))


def test_another_workers_page(fleet: SimFleet, http: httpx.Client) -> None:
    liar, other = (worker.name for worker in fleet.workers)
    fleet.config(liar, metrics={"page_of": other})
    started = samples(page(fleet, http).text, "process_start_time_seconds")[0].value
    assert started == fleet.state(other)["started"] != fleet.state(liar)["started"]


def test_a_slow_page_and_late_gauges(fleet: SimFleet, http: httpx.Client) -> None:
    name = fleet.workers[0].name
    fleet.config(name, metrics={"delay_s": 0.2})
    began = time.monotonic()
    assert page(fleet, http).status_code == 200
    assert time.monotonic() - began >= 0.2
    fleet.config(name, metrics={"lag_s": 30})
    with http.stream("POST", f"{fleet.workers[0].url}/v1/chat/completions", json=long(fleet.workers[0])):
        fleet.wait(name, lambda state: state["running"] == 1)
        assert samples(page(fleet, http).text, RUNNING)[0].value == 0


def test_a_stream_that_stalls_drips_on_or_stands_still(fleet: SimFleet, http: httpx.Client) -> None:
    worker = fleet.workers[0]
    fleet.config(worker.name, stall={"after_frames": 2, "every_s": 0.01})
    with http.stream("POST", f"{worker.url}/v1/chat/completions", json=long(worker)) as answer:
        parts = []
        for part in answer.iter_raw():
            parts.append(part)
            if len(b"".join(parts[-5:])) == 5 and len(parts) > 5:
                break
    assert b"".join(parts).count(b"\n\n") == 3  # the role and two frames, then single bytes
    fleet.wait(worker.name, lambda state: state["running"] == 0)


def test_a_storm_of_429_says_when_to_come_back(fleet: SimFleet, http: httpx.Client) -> None:
    for server in (fleet.workers[0], fleet.managed[0]):
        fleet.config(server.name, error_rate=1.0, error_status=429, retry_after_s=7)
        url = server.url.removesuffix("/v1") + "/v1/chat/completions"
        answer = http.post(url, json=chat(server), headers={"authorization": "Bearer sim-managed-key"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


def test_connections_are_reset(fleet: SimFleet, http: httpx.Client) -> None:
    fleet.config(fleet.workers[0].name, reset_rate=1.0)
    with pytest.raises(httpx.TransportError):
        page(fleet, http)


def test_what_cannot_be_set_is_said(fleet: SimFleet) -> None:
    with pytest.raises(SimFault, match="show"):
        fleet.config(None, metrics={"show": "nonsense"})
    with pytest.raises(SimFault, match="at least one name"):
        fleet.config(None, models=[])


GPUS = {"tp": 2, "pod": "llama-0", "namespace": "prod"}


@pytest.fixture(scope="module", params=["now", "before", "oldest"])
def exporters(request: pytest.FixtureRequest) -> Iterator[tuple[str, SimFleet]]:
    dcgm = {"labels": request.param, "kubernetes": True, "without": ["DCGM_FI_PROF_SM_ACTIVE"]}
    with start(**{**FAST, "managed": 0, "workers": [GPUS], "dcgm": dcgm}) as fleet:
        yield request.param, fleet


def test_both_spellings_of_an_exporter(exporters: tuple[str, SimFleet], http: httpx.Client) -> None:
    spelled, fleet = exporters
    used = samples(http.get(fleet.dcgm[0].url).text, "DCGM_FI_DEV_FB_USED")
    uuid, pod = ("uuid", "pod_name") if spelled == "oldest" else ("UUID", "pod")
    assert [sample.labels[uuid] for sample in used] == fleet.workers[0].gpu_uuids
    assert {sample.labels[pod] for sample in used} == {"llama-0"}
    assert {sample.labels["hostname" if spelled == "now" else "Hostname"] for sample in used} == {"node-1"}


def test_a_failing_gpu(exporters: tuple[str, SimFleet], http: httpx.Client) -> None:
    _, fleet = exporters
    fault = {"ecc": 3, "row_remap_failure": True, "throttle": 72, "temperature": 91, "without": ["DCGM_FI_DEV_FB_USED"]}
    fleet.config(None, xid=94, gpu=fault)
    text = http.get(fleet.dcgm[0].url).text
    wanted = {"XID_ERRORS": 94, "ECC_DBE_VOL_TOTAL": 3, "ROW_REMAP_FAILURE": 1, "CLOCK_THROTTLE_REASONS": 72}
    for name, value in {**wanted, "GPU_TEMP": 91}.items():
        family = f"DCGM_FI_DEV_{name}"
        found = [s.value for f in text_string_to_metric_families(text) if family.startswith(f.name) for s in f.samples]
        assert found == [value] * 2, name
    assert not samples(text, "DCGM_FI_DEV_FB_USED")
    assert not samples(text, "DCGM_FI_PROF_SM_ACTIVE")
    fleet.config(None, clear=True)
