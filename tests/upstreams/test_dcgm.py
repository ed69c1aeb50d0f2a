"""GPU pages of nodes: the simulator's, both label spellings, broken ones, and which GPU belongs to which worker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import GpuLook, GpuSample, SeenGpu, gpus_of, throttles
from gateway.upstreams.dialects.dcgm import parse_gpus
from loadtests.simfleet.config import DcgmConfig
from loadtests.simfleet.dcgm import GpuReading, render
from loadtests.simfleet.metrics import Load
from tests.worlds import upstream

UNSUPPORTED = "9223372036854775794"


def one(page: str) -> GpuSample:
    (seen,) = parse_gpus(page)
    return seen.sample


def lines(**values: object) -> str:
    return "".join(f'DCGM_FI_{name}{{gpu="0",UUID="GPU-a",Hostname="n"}} {value}\n' for name, value in values.items())


@pytest.mark.parametrize("spelling", ["now", "before", "oldest"])
def test_a_page_of_the_simulated_node(spelling: Any) -> None:
    gpus = [GpuReading(0, Load(8, 0, 0.5), 16, uuid="GPU-a", pod="w-0"), GpuReading(1, None, 16, xid=79, uuid="GPU-b")]
    busy, idle = parse_gpus(render("node-1", gpus, DcgmConfig(labels=spelling, kubernetes=True)).decode())
    assert (busy.host, busy.pod, busy.sample.index) == ("node-1", "default/w-0", 0)
    assert (busy.sample.uuid, idle.sample.uuid, idle.pod) == ("GPU-a", "GPU-b", None)
    assert busy.sample.use == pytest.approx(0.5)
    assert busy.sample.memory_total == idle.sample.memory_total == 81_559
    assert (idle.sample.use, idle.sample.xid, idle.sample.xids) == (0.0, 79, None)


def test_sm_activity_is_preferred_to_the_engine_and_that_to_the_duty_cycle() -> None:
    duty = lines(DEV_GPU_UTIL=97)
    assert one(duty).use == 0.97
    assert one(duty + lines(PROF_GR_ENGINE_ACTIVE=0.6)).use == 0.6
    assert one(duty + lines(PROF_GR_ENGINE_ACTIVE=0.6, PROF_SM_ACTIVE=0.4, PROF_DRAM_ACTIVE=0.8)).use == 0.4


def test_everything_that_is_published() -> None:
    page = lines(
        DEV_FB_USED=70_000, DEV_FB_FREE=11_000, DEV_FB_RESERVED=559, DEV_POWER_USAGE=612.5, DEV_GPU_TEMP=64,
        DEV_XID_ERRORS=0, DEV_ECC_DBE_VOL_TOTAL=2, DEV_ROW_REMAP_FAILURE=1, DEV_UNCORRECTABLE_REMAPPED_ROWS=3,
        DEV_CLOCKS_EVENT_REASONS=0x24, PROF_DRAM_ACTIVE=0.7,
    )  # fmt: skip
    assert one(page) == GpuSample(
        uuid="GPU-a", index=0, dram=0.7, memory_used=70_000, memory_total=81_559, power=612.5, temperature=64, xid=0,
        ecc=2, remapped=3, fault="row remap failure", throttle=("power", "thermal"),
    )  # fmt: skip


def test_xids_are_counted_in_the_exporters_window() -> None:
    line = 'DCGM_EXP_XID_ERRORS_COUNT{gpu="0",UUID="GPU-a",Hostname="n",window_size_in_ms="300000"'
    none, some = f"{line}}} 0\n", f'{line},xid="94"}} 2\n{line},xid="13"}} 7\n'
    assert (one(lines(DEV_GPU_UTIL=1) + none).xids, one(lines(DEV_GPU_UTIL=1)).xids) == ((), None)
    counted = one(lines(DEV_GPU_UTIL=1) + some)
    assert (counted.xids, counted.window) == (((13, 7), (94, 2)), 300.0)


def test_an_xid_that_comes_with_labels_of_its_own_is_about_the_same_gpu() -> None:
    labelled = 'DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a",Hostname="n",err_code="79",err_msg="off the } bus"} 79\n'
    assert one(lines(DEV_GPU_UTIL=1) + labelled).xid == 79


@pytest.mark.parametrize("many", ["9" * 5_000, "9" * 13, "\u0661"])
def test_a_number_that_no_exporter_writes_is_none(many: str) -> None:
    page = f'DCGM_FI_DEV_GPU_UTIL{{gpu="{many}",UUID="GPU-a"}} 1\n'
    for label in ("window_size_in_ms", "xid"):
        page += f'DCGM_EXP_XID_ERRORS_COUNT{{UUID="GPU-a",{label}="{many}"}} 1\n'
    assert (one(page).index, one(page).window, one(page).xids) == (None, None, ())


@pytest.mark.parametrize("value", [UNSUPPORTED, "NaN", "-9223372036854775794", "-0.5", "word", ""])
def test_what_is_not_supported_or_absurd_is_not_published(value: str) -> None:
    assert parse_gpus(lines(PROF_SM_ACTIVE=value)) == () or one(lines(PROF_SM_ACTIVE=value)).use is None
    assert one(lines(PROF_SM_ACTIVE=value, DEV_GPU_UTIL=50)).use == 0.5


@pytest.mark.parametrize(
    ("labels", "host", "uuid", "pod"),
    [
        ('hostname="n",UUID="GPU-a",namespace="ml",pod="w-0",container="c"', "n", "GPU-a", "ml/w-0"),
        ('Hostname="n",uuid="GPU-a",pod_namespace="ml",pod_name="w-0"', "n", "GPU-a", "ml/w-0"),
        (
            'Hostname="n",UUID="GPU-a",namespace="monitoring",pod="dcgm-x",exported_namespace="ml",exported_pod="w-0"',
            "n",
            "GPU-a",
            "ml/w-0",
        ),
        ('Hostname="n",UUID="GPU-a",namespace="",pod=""', "n", "GPU-a", None),
        ("", None, None, None),
    ],
)
def test_labels_in_each_spelling(labels: str, host: str | None, uuid: str | None, pod: str | None) -> None:
    (seen,) = parse_gpus(f'DCGM_FI_DEV_GPU_UTIL{{gpu="3",{labels}}} 10\n')
    assert (seen.host, seen.sample.uuid, seen.sample.index, seen.pod) == (host, uuid, 3, pod)


def test_instances_of_a_cut_gpu_are_told_apart() -> None:
    rows = [
        f'DCGM_FI_PROF_SM_ACTIVE{{gpu="0",UUID="GPU-a",GPU_I_ID="{i}",pod="p{i}",namespace="x"}} 0.{i}\n'
        for i in (1, 2)
    ]
    seen = parse_gpus("".join(rows))
    assert [(one.pod, one.sample.sm) for one in seen] == [("x/p1", 0.1), ("x/p2", 0.2)]
    assert [one.sample.name for one in seen] == ["GPU-a/1", "GPU-a/2"]


def test_what_befalls_a_cut_gpu_befalls_its_instances() -> None:
    labels = 'gpu="0",UUID="GPU-a",Hostname="n"'
    page = f"DCGM_FI_DEV_XID_ERRORS{{{labels}}} 94\nDCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{labels}}} 0\n"
    page += f'DCGM_EXP_XID_ERRORS_COUNT{{{labels},window_size_in_ms="300000",xid="94"}} 2\n'
    page += f"DCGM_FI_DEV_XID_ERRORS{{{labels.replace('0', '1').replace('-a', '-b')}}} 79\n"
    for instance, xid in (1, 13), (2, 0):
        mine = f'{labels},GPU_I_ID="{instance}",pod="p{instance}",namespace="x"'
        page += f"DCGM_FI_PROF_SM_ACTIVE{{{mine}}} 0.5\nDCGM_FI_DEV_XID_ERRORS{{{mine}}} {xid}\n"
    first, second = (one.sample for one in parse_gpus(page) if one.pod is not None)
    assert (first.xid, first.xids, first.window, first.ecc) == (94, ((94, 2),), 300.0, 0)
    assert (second.xid, second.xids, second.window, second.ecc) == (94, ((94, 2),), 300.0, 0)


def test_a_sample_of_no_gpu_is_left_out() -> None:
    assert (
        parse_gpus('DCGM_FI_DEV_GPU_UTIL{gpu=""} 10\nDCGM_FI_DEV_GPU_UTIL 10\nDCGM_FI_DEV_GPU_UTIL{gpu="²"} 1\n') == ()
    )


@given(st.text(max_size=300))
def test_any_page_is_read(page: str) -> None:
    parse_gpus(page)
    parse_gpus("DCGM_FI_DEV_GPU_UTIL{" + page + '\nDCGM_EXP_XID_ERRORS_COUNT{gpu="0",' + page)


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, ()),
        (0x1, ()),
        (0x2 | 0x10 | 0x100, ()),
        (0x4, ("power",)),
        (0x80 | 0x8, ("power", "hardware")),
        (0x40, ("thermal",)),
    ],
)
def test_why_clocks_are_held_down(mask: int, names: tuple[str, ...]) -> None:
    assert throttles(mask) == names


def seen(host: str, index: int, sm: float, pod: str | None = None) -> SeenGpu:
    return SeenGpu(host, pod, GpuSample(uuid=f"GPU-{host}{index}", index=index, sm=sm))


NODES = (seen("a", 0, 0.2, "ml/w-0"), seen("a", 1, 0.4, "ml/w-1"), seen("b", 0, 0.9, "ml/w-1"))


@pytest.mark.parametrize(
    ("named", "use"),
    [
        ({}, 0.5),
        ({"hostname": "a"}, 0.3),
        ({"hostname": "a", "gpus": (1,)}, 0.4),
        ({"gpus": (0,)}, 0.55),
        ({"hostname": "c"}, None),
        ({"hostname": "a", "gpus": (7,)}, None),
        ({"gpu_uuids": frozenset({"GPU-a1", "GPU-b0"})}, 0.65),
        ({"gpu_uuids": frozenset({"GPU-b0"}), "pod": "ml/w-0", "hostname": "a"}, 0.9),
        ({"gpu_uuids": frozenset({"GPU-x"}), "hostname": "a"}, None),
        ({"pod": "ml/w-1"}, 0.65),
        ({"pod": "ml/w-1", "hostname": "a", "gpus": (0,)}, 0.65),
        ({"pod": "ml/w-9"}, None),
    ],
)
def test_a_workers_use_is_the_mean_of_its_gpus(named: dict[str, Any], use: float | None) -> None:
    look = GpuLook(gpus_of(upstream("w", "gpu", **named), NODES), 0.0, 30.0)
    assert look.use == (None if use is None else pytest.approx(use))
