"""Which fault takes a worker out, and what ends it. One table entry is one look; time passes in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.gpu_faults import GpuFault, GpuHealth, judge
from gateway.fleet.xids import FAULTS
from gateway.model import GpuLook, GpuSample, Scrape

BORN = 1_000.0
"""When the worker of these stories began."""
LAG = 30.0
NOTHING = GpuHealth()


def gpu(**told: Any) -> GpuSample:
    return GpuSample(**{"uuid": "GPU-a", "index": 0, **told})


@dataclass
class Story:
    """Folds looks into one worker's health, a minute apart unless said."""

    health: GpuHealth = NOTHING
    now: float = 10_000.0

    def look(
        self,
        *gpus: GpuSample,
        started: float | None = BORN,
        after: float = 60.0,
        age: float = 0.1,
        count: int = 1,
        cleared: float = 0.0,
        scrape: Scrape | None = None,
    ) -> GpuFault | None:
        self.now += after
        seen = GpuLook(gpus, age, LAG) if gpus else None
        made = scrape or Scrape(running=1, started=started)
        self.health = judge(self.health, made, seen, self.now, count=count, cleared=cleared)
        return self.health.fault


def broken(xid: int = 79, **more: Any) -> Story:
    """A worker that this XID just befell, told by the gauge."""
    story = Story()
    assert story.look(gpu(xid=0)) is None
    assert str(story.look(gpu(xid=xid), **more)) == f"xid {xid} on GPU-a"
    return story


# what happens


@pytest.mark.parametrize("xid", sorted(FAULTS))
def test_an_xid_that_appears_takes_the_worker_out(xid: int) -> None:
    broken(xid)


@pytest.mark.parametrize("xid", [8, 13, 31, 43, 45, 63, 68, 69, 92, 93, 121, 137, 144, 154, 156, 999])
def test_what_the_application_did_or_the_gpu_mended_does_not(xid: int) -> None:
    story = Story()
    assert [story.look(gpu(xid=x)) for x in (0, xid, 0, xid)] == [None] * 4


@pytest.mark.parametrize("started", [BORN, None])
def test_the_xid_that_was_there_at_the_first_look_says_nothing(started: float | None) -> None:
    story = Story()
    assert [story.look(gpu(xid=79), started=started) for _ in range(3)] == [None] * 3


def test_the_gauge_of_a_gpu_that_was_away_is_compared_with_its_last() -> None:
    story = Story()
    story.look(gpu(xid=0), gpu(uuid="GPU-b", xid=79), count=2)
    story.look(gpu(xid=0), count=2)
    assert story.look(gpu(xid=0), gpu(uuid="GPU-b", xid=79), count=2) is None
    assert str(story.look(gpu(xid=0), gpu(uuid="GPU-b", xid=95), count=2)) == "xid 95 on GPU-b"


def test_the_instances_of_a_cut_gpu_are_remembered_apart() -> None:
    story = Story()
    for _ in range(3):
        assert story.look(gpu(instance="1", xid=94), gpu(instance="2", xid=0)) is None
    assert str(story.look(gpu(instance="1", xid=94), gpu(instance="2", xid=94))) == "xid 94 on GPU-a/2"


def test_an_uncorrectable_error_more_is_a_fault_and_old_ones_are_none() -> None:
    story = Story()
    assert [story.look(gpu(ecc=ecc)) for ecc in (2, 2, 0)] == [None] * 3
    assert str(story.look(gpu(ecc=1))) == "uncorrectable memory error on GPU-a"


def test_the_count_in_the_window_tells_what_the_gauge_cannot() -> None:
    story = Story()
    for xids in ((), ((94, 1),)):
        fault = story.look(gpu(xid=94, xids=xids, window=300.0))
    assert str(fault) == "xid 94 on GPU-a", "the same XID as before, so the gauge did not move"
    assert story.look(gpu(xid=94, xids=(), window=300.0), started=story.now) is None
    assert story.look(gpu(xid=79, xids=(), window=300.0), started=story.now) is None, "the gauge is not asked"


@pytest.mark.parametrize(
    ("age_of_worker", "window", "out"),
    [(3600.0, 300.0, True), (200.0, 300.0, False), (320.0, 300.0, False), (340.0, 300.0, True), (3600.0, None, False)],
)
def test_at_first_sight_a_window_counts_if_the_worker_is_older_than_it(
    age_of_worker: float, window: float | None, out: bool
) -> None:
    story = Story()
    started = story.now - age_of_worker
    assert (story.look(gpu(xids=((79, 1),), window=window), started=started, after=0) is not None) == out


@pytest.mark.parametrize(("age_of_worker", "out"), [(LAG - 1, False), (LAG + 2, True)])
def test_what_shows_just_after_a_start_is_what_the_worker_was_restarted_for(age_of_worker: float, out: bool) -> None:
    """The exporter's page is up to half a minute behind: the XID killed the worker before."""
    story = Story()
    story.look(gpu(xid=0))
    assert (story.look(gpu(xid=94), started=story.now + 60 - age_of_worker) is not None) == out
    assert story.look(gpu(xid=94), started=story.now - age_of_worker) is None or out


@pytest.mark.parametrize("fault", ["row remap failure", "lost", "needs a reset"])
def test_a_standing_fault_holds_from_the_first_look(fault: str) -> None:
    story = Story()
    assert str(story.look(gpu(fault=fault))) == f"{fault} on GPU-a"
    assert str(story.look(gpu(fault=fault), started=story.now)) == f"{fault} on GPU-a", "a restart mends nothing"
    assert story.look(gpu(fault=fault), cleared=story.now) is not None, "nor does a word"


def test_heat_and_a_power_cap_are_no_fault() -> None:
    assert Story().look(gpu(throttle=("thermal", "power"), temperature=91)) is None


# what ends it


def test_it_stays_until_the_worker_began_anew() -> None:
    story = broken()
    assert all(story.look(gpu(xid=79)) is not None for _ in range(5))
    assert story.look(gpu(xid=79), started=story.now) is None, "the gauge keeps the old XID for ever"
    assert story.look(gpu(xid=79), started=story.now) is None


def test_that_the_exporter_forgot_it_does_not_mend_it() -> None:
    story = broken()
    assert story.look(gpu(xid=0)) is not None
    assert story.look(gpu()) is not None


def test_a_start_time_that_wavers_is_no_restart() -> None:
    assert broken().look(gpu(xid=79), started=BORN + 0.5) is not None


@pytest.mark.parametrize("started", [BORN + 30, BORN - 30])
def test_a_worker_whose_clock_is_behind_or_set_back_can_restart_too(started: float) -> None:
    assert broken().look(gpu(xid=79), started=started) is None


def test_an_operator_can_end_it() -> None:
    story = broken()
    assert story.look(gpu(xid=79), cleared=story.now - 1) is not None, "said before it happened"
    assert story.look(gpu(xid=79), cleared=story.now + 1) is None


def test_a_clock_of_the_store_that_is_set_back_keeps_nobody_out_for_ever() -> None:
    story = broken()
    story.now -= 5_000.0
    assert story.look(gpu(xid=79)) is not None
    assert story.look(gpu(xid=79), cleared=story.now + 30.0) is None


def test_a_clock_that_is_set_back_hides_no_fault_of_a_worker_that_does_not_tell_its_start() -> None:
    story = Story()
    story.look(gpu(xid=0), scrape=Scrape(healthy=False, reason="unreachable"))
    story.now -= 5_000.0
    story.look(gpu(xid=0), started=None)
    assert story.look(gpu(xid=79), started=None) is not None


def test_a_gpu_that_is_gone_is_not_mended_by_a_restart() -> None:
    story = Story()
    both = gpu(xid=0), gpu(uuid="GPU-b", index=1, xid=0)
    story.look(*both, count=2)
    assert story.look(gpu(xid=79), both[1], count=2) is not None
    assert story.look(both[1], count=2, started=5_000.0) is not None
    assert story.look(gpu(xid=79), both[1], count=2, started=5_000.0) is None, "it is on the bus again"


def test_a_worker_that_began_on_other_gpus_is_well() -> None:
    assert broken().look(gpu(uuid="GPU-other", xid=13), started=5_000.0) is None


@pytest.mark.parametrize("look", [(), (gpu(xid=79),)])
def test_what_nobody_looked_at_lately_ends_nothing(look: tuple[GpuSample, ...]) -> None:
    assert broken().look(*look, started=5_000.0, age=60.0) is not None


def test_a_worker_that_does_not_tell_its_start_restarts_by_being_away() -> None:
    story = Story()
    story.look(gpu(xid=0), started=None)
    assert story.look(gpu(xid=79), started=None) is not None
    assert story.look(gpu(xid=79), started=None) is not None
    assert story.look(gpu(xid=79), scrape=Scrape(healthy=False, reason="no_metrics")) is not None
    story.look(gpu(xid=79), scrape=Scrape(healthy=False, reason="unreachable"))
    assert story.look(gpu(xid=79), started=None) is None


def test_of_one_that_tells_its_start_a_cut_network_is_no_restart() -> None:
    story = broken()
    story.look(gpu(xid=79), scrape=Scrape(healthy=False, reason="unreachable"))
    assert story.look(gpu(xid=79)) is not None


def test_another_fault_after_the_first_needs_another_restart() -> None:
    story = broken()
    assert str(story.look(gpu(xid=95), started=9_000.0)) == "xid 95 on GPU-a"
    assert story.look(gpu(xid=95), started=9_000.0) is not None
    assert story.look(gpu(xid=95), started=20_000.0) is None


LOOKS = st.lists(
    st.tuples(
        st.sampled_from([None, 0, 13, 79, 94]),
        st.sampled_from([None, (), ((79, 1),), ((79, 2), (13, 5))]),
        st.sampled_from([None, BORN, 20_000.0]),
        st.sampled_from([None, None, "lost"]),
        st.floats(0, 1000),
    ),
    max_size=12,
)


@given(LOOKS)
def test_an_old_story_told_again_and_again_changes_nothing(looks: list[tuple[Any, ...]]) -> None:
    """Whatever came before: the same look twice is no second event, and a restart under a well GPU always heals."""
    story = Story()
    for xid, xids, started, fault, after in looks:
        story.look(gpu(xid=xid, xids=xids, fault=fault), started=started, after=after)
        first = story.health.fault
        story.look(gpu(xid=xid, xids=xids, fault=fault), started=started, after=0.5)
        assert first is not None or story.health.fault is None
    last = story.health.gpus.get("GPU-a")
    calm = gpu(xid=last.xid, xids=last.xids) if last else gpu()
    assert story.look(calm, started=story.now + 59) is None
