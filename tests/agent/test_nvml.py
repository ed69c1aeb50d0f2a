"""What the agent reads off NVML: everything, what is missing, what breaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pynvml
import pytest

from gateway.agent.nvml import NvmlReader
from gateway.errors import StartupFault
from gateway.model import GpuSample
from tests.agent.nvml import Card, Driver, failing
from tests.gateways import eventually


@contextmanager
def reading(driver: Driver) -> Iterator[NvmlReader]:
    reader = NvmlReader(driver)
    yield reader
    reader.close()
    assert not driver.open


def test_everything_that_a_hopper_tells() -> None:
    with reading(Driver(Card("GPU-a", ecc=3))) as reader:
        (_,), (told,) = reader.read(), reader.read()
    assert told == GpuSample(
        uuid="GPU-a", index=0, sm=0.5, dram=0.25, util=0.97, memory_used=70 * 1024, memory_total=80 * 1024, power=612.5,
        temperature=64, xid=0, xids=(), ecc=3, remapped=2, throttle=("power",), pids=(4711,),
    )  # fmt: skip
    assert told.use == 0.5


def test_a_card_that_supports_nothing_is_still_told() -> None:
    every = {name.removeprefix("on_") for name in vars(Driver) if name.startswith("on_nvmlDeviceGet")}
    card = Card("GPU-a", gpm=False, missing=every - {"nvmlDeviceGetUUID"})
    driver = Driver(card)
    driver.can_watch = False
    with reading(driver) as reader:
        assert reader.read() == (GpuSample(uuid="GPU-a", index=0, xid=0),)


@pytest.mark.parametrize("value", [float("nan"), -1.0, 101.0])
def test_a_counter_that_says_nonsense_is_not_told(value: float) -> None:
    with reading(Driver(Card("GPU-a", sm=value, dram=100.0))) as reader:
        (told,) = reader.read()
    assert (told.sm, told.dram, told.use) == (None, 1.0, 0.97)


@pytest.mark.parametrize(
    ("card", "fault"),
    [
        (Card("GPU-a", rows=(1, 2, 1, 0)), None),
        (Card("GPU-a", rows=(1, 2, 1, 1)), "row remap failure"),
        (Card("GPU-a", recovery=pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET), "needs a reset"),
        (Card("GPU-a", recovery=pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT), "needs a reset"),
        (Card("GPU-a", recovery=pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET), None),
    ],
)
def test_what_makes_a_gpu_unfit(card: Card, fault: str | None) -> None:
    with reading(Driver(card)) as reader:
        assert reader.read()[0].fault == fault


@pytest.mark.parametrize(
    ("code", "fault"),
    [(pynvml.NVML_ERROR_GPU_IS_LOST, "lost"), (pynvml.NVML_ERROR_RESET_REQUIRED, "needs a reset")],
)
def test_a_gpu_that_falls_off_the_bus_is_lost_and_the_others_are_told(code: int, fault: str) -> None:
    broken, well = Card("GPU-a"), Card("GPU-b")
    with reading(Driver(broken, well)) as reader:
        broken.code = code
        assert [(one.uuid, one.index, one.fault) for one in reader.read()] == [("GPU-a", 0, fault), ("GPU-b", 1, None)]
        broken.code = pynvml.NVML_SUCCESS
        assert reader.read()[0].fault is None


def test_a_driver_that_is_unloaded_ends_the_agent() -> None:
    card = Card("GPU-a")
    with reading(Driver(card)) as reader:
        card.code = pynvml.NVML_ERROR_UNINITIALIZED
        with pytest.raises(StartupFault, match="unloaded"):
            reader.read()


def test_xids_are_counted_as_they_happen() -> None:
    first, second = Card("GPU-a"), Card("GPU-b")
    driver = Driver(first, second)
    with reading(driver) as reader:
        for card, xid in ((second, 94), (second, 13), (second, 94), (Card("GPU-of-another"), 79)):
            driver.events.put((card, xid))
        driver.events.put((Card("GPU-a", code=pynvml.NVML_ERROR_GPU_IS_LOST), 79))
        eventually(lambda: reader.read()[1].xids == ((13, 1), (94, 2)), "all events")
        assert [(one.xid, one.xids) for one in reader.read()] == [(0, ()), (94, ((13, 1), (94, 2)))]


def test_without_a_driver_or_a_gpu_it_says_so() -> None:
    class Bare(Driver):
        def on_nvmlInit(self) -> None:
            raise failing(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    with pytest.raises(StartupFault, match="is the NVIDIA driver installed"):
        NvmlReader(Bare())
    with pytest.raises(StartupFault, match="no GPU"):
        NvmlReader(Driver())


def test_what_the_agent_uses_is_in_the_library() -> None:
    used = {name.removeprefix("on_") for name in vars(Driver) if name.startswith("on_")}
    assert [name for name in used if not callable(getattr(pynvml, name, None))] == []
