"""Advice against figures worked out by hand; none where the data does not suffice."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from gateway.model import US_PER_HOUR, Gpus, Model, Policy, Served
from gateway.reports.advice import Advice, Hourly, Seen, WorkerHour, advise, is_idle
from gateway.reports.ask import Ask
from gateway.reports.doubts import Doubts
from gateway.reports.elsewhere import Traffic
from gateway.reports.fleet_cost import Fleet
from gateway.reports.gathering import facts, material
from gateway.reports.telling import tell_advice, tell_saved
from gateway.reports.writing import encoded
from tests.reports.books import HOUR_US, NOON, bought, reader, row, stored, whole_hour, worker, written
from tests.worlds import policy, upstream

H200 = upstream("w1", "gpu", seats=128, usd_per_hour=2.6, hardware=Gpus("H200", 1, 141.0, 2.6))
WORLD = policy(
    (H200, upstream("a1", "api")), models={"m": Model("m", "text", (Served("gpu", "l"), Served("api", "a")))}
)
PROMPT = 25_000
"""Prompt tokens that take one second of it: 0.04 ms each."""


def spilled(hour: int, seconds: int, usd: float, **given: object) -> Hourly:
    traffic = Traffic("m", "api", "managed", requests=10, input_tokens=seconds * PROMPT, charged=int(usd * 1e6))
    return Hourly(hour, traffic, "chat", "spilled", "slo_limit")._replace(**given)


def busy(hour: int, share: float = 1.0, name: str = "w1", **given: object) -> WorkerHour:
    hour_of = Fleet("gpu", "H100", up=60, priced=60, busy=60, rate_sum=60 * 2_000_000, work_us=int(share * US_PER_HOUR))
    return WorkerHour(hour, name, replace(hour_of, **given))  # type: ignore[arg-type]


def seen(bought: list[Hourly], workers: list[WorkerHour], world: Policy = WORLD, **given: object) -> Seen:
    base = Seen(48, bought, (), workers, world, Fraction(3, 4))
    return replace(base, **given)  # type: ignore[arg-type]


def only(found: Seen, kind: str) -> Advice:
    (one,) = [each for each in advise(found).advice if each.kind == kind]
    return one


ALWAYS = [busy(hour) for hour in range(48)]


def test_another_worker_by_hand() -> None:
    """Two days. Each hour 1,800 s of work are bought for $5: all fits into 75 % of an hour, so $120 a day are saved;
    the rent is $62.40 a day, $1,872 a month: 15.6 days."""
    found = only(seen([spilled(hour, 1800, 5) for hour in range(48)], ALWAYS), "another_worker")
    assert found.says == "one more worker at gpu (1 x H200) pays back a month's rent in 15.6 days at this spill"
    assert found.worth == 120_000_000 - 62_400_000
    assert "12.00 worker-hours a day in 48 of 48 hours, bought for $120.00 a day" in found.working
    assert "$1,872.00 a month / $120.00 = 15.6 days" in found.working


def test_a_burst_is_more_than_one_worker_takes() -> None:
    """Once a day 27,000 s in one hour for $1,000: one worker takes 2,700 of them, a tenth. $100 a day."""
    found = only(seen([spilled(hour, 27_000, 1000) for hour in (10, 34)], ALWAYS), "another_worker")
    assert found.worth == 100_000_000 - 62_400_000


def test_one_that_does_not_pay_is_said_so() -> None:
    found = advise(seen([spilled(hour, 1800, 0.5) for hour in range(48)], ALWAYS))
    assert not found.advice
    (note,) = found.notes
    assert note.startswith("another worker at gpu would not pay")
    assert note.endswith("saves $12.00 a day; its rent is $62.40 a day")


def test_one_that_is_bought() -> None:
    found = only(
        seen([spilled(hour, 1800, 5) for hour in range(48)], ALWAYS, gpu_price=30_000_000_000), "another_worker"
    )
    assert found.says == "one more worker at gpu (1 x H200) pays back in 250.0 days at this spill"


def test_idle_by_hand() -> None:
    """Two workers idle 19 hours of each day, a third never: 2 x 19 x $2.00 a day."""
    idle = [
        busy(hour, 0.0 if hour % 24 < 19 else 0.9, name, busy=0 if hour % 24 < 19 else 60)
        for hour in range(48)
        for name in ("w1", "w2")
    ]
    found = only(seen([], [*idle, *(busy(hour, name="w3") for hour in range(48))]), "idle")
    assert found.says == "2 H100 GPUs of gpu stand idle 19.0 hours a day"
    assert found.worth == 76_000_000


def test_idle_ones_without_a_rate_are_not_free() -> None:
    found = seen([], [busy(hour, 0.0, busy=0, priced=0, rate_sum=0) for hour in range(48)])
    one = only(found, "idle")
    assert one.worth is None
    assert one.working.endswith("their rent in that time is not known: no gpu.usd_per_hour")
    assert "(rent unknown)" in tell_advice(json.loads(encoded(advise(found))))


def test_spill_without_a_price_is_said() -> None:
    free = spilled(0, 60, 0)._replace(traffic=Traffic("m", "api", "managed", 1, input_tokens=PROMPT, unpriced=1))
    said = "attempts of m have no price: what they cost is in no figure"
    assert {f"spilled {said}", f"bought {said}"} <= set(advise(seen([free], [busy(0, 0.1)])).notes)


def test_many_that_are_idle_for_less_count_more() -> None:
    workers = [
        busy(hour, 0.0 if hour % 24 < hours else 1.0, name, busy=0)
        for hour in range(48)
        for name, hours in (("w1", 20), ("w2", 15), ("w3", 15), ("w4", 1))
    ]
    assert only(seen([], workers), "idle").says == "3 H100 GPUs of gpu stand idle 15.0 hours a day"


IDLE = [
    ({"work_us": 0, "busy": 0}, True),
    ({"work_us": 0, "busy": 3}, False),
    ({"work_us": US_PER_HOUR // 10, "busy": 0}, False),
    ({"work_us": 0, "busy": 0, "use_sum": 60 * 900, "use_seen": 60}, False),
    ({"work_us": 0, "busy": 0, "use_sum": 60 * 10, "use_seen": 60}, True),
    ({"work_us": 0, "busy": 0, "up": 0}, False),
]


@pytest.mark.parametrize(("given", "idle"), IDLE)
def test_who_is_idle(given: dict[str, int], idle: bool) -> None:
    assert is_idle(busy(0, **given).fleet) is idle  # type: ignore[arg-type]


def test_bought_although_there_was_room() -> None:
    roomy = [busy(hour, 0.3 if hour < 10 else 0.8) for hour in range(48)]
    found = only(seen([spilled(hour, 60, 2) for hour in range(20)], roomy), "bought_although")
    assert found.says == "100 requests for m were bought (rule chat, slo_limit) although gpu had room"
    assert found.worth == 10_000_000
    assert "in 10 of 48 hours gpu delivered 30.0% of what it could" in found.working


def test_a_worker_that_was_out_had_no_room() -> None:
    out = [busy(hour, 0.0, out=60) for hour in range(48)]
    assert [one.kind for one in advise(seen([spilled(0, 60, 2)], out)).advice if one.kind != "idle"] == []


def test_a_model_that_we_do_not_serve_is_bought_for_good_reason() -> None:
    strange = spilled(0, 60, 2)._replace(traffic=Traffic("x", "api", "managed", requests=1, charged=5))
    assert advise(seen([strange], [busy(hour, 0.1) for hour in range(48)])).advice == ()


MISSING = [
    (seen([], [], hours=23), "the ledger holds 23 hours of what was asked for; 24 are needed"),
    (seen([], ALWAYS), "nothing was spilled, so no further worker is asked for"),
    (seen([], ALWAYS[:5]), "worker-hours are known of 5 hours; 24 are needed to tell who is idle"),
    (seen([], []), "no worker-hours: whether our own workers had room when something was bought is not known"),
    (seen([spilled(0, 9, 1)], ALWAYS, replace(WORLD, backends={"gpu": (replace(H200, usd_per_hour=None),)})),
     "gpu has no gpu.usd_per_hour: what another worker costs is not known"),
    (seen([spilled(0, 0, 1)], ALWAYS), "m on gpu: no usage was recorded"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "note"), MISSING)
def test_what_is_missing_is_said(found: Seen, note: str) -> None:
    assert note in advise(found).notes


SLICE = row(
    "slice o a", request="", tenant="", model="", backend="", upstream="", kind="managed", cost=None,
    reserved=7_000_000, payer="operator", state="unreconciled", basis="reserved", gpu_us=0,
)  # fmt: skip
DOUBTFUL = [
    SLICE,
    bought("died", cost=None, list_cost=None, reserved=9_000_000, state="unreconciled", basis="reserved"),
    bought("play", cost=8_000_000, demo=True),
]


def test_reservations_and_simulated_money_are_left_out_and_told(tmp_path: Path) -> None:
    sound = [row("a"), bought("b", estimated=True, price_marks=("old",))]
    for name in ("sound", "all"):
        (tmp_path / name).mkdir()
    plain = material(reader(written(tmp_path / "sound", sound)), Ask())
    ledger = reader(written(tmp_path / "all", [*sound, *DOUBTFUL]))
    found = material(ledger, Ask())
    assert (found.got, found.tried) == (plain.got, plain.tried)
    assert found.doubts == Doubts(2, 16_000_000, 1, 8_000_000, 1, 400, 1, 400)
    assert [one.traffic.charged for one in facts(ledger, Ask()).bought] == [400]
    told = tell_saved(json.loads(encoded(found.saved(WORLD))))
    assert "left out: 2 attempts ($16.000000) that are booked at what was set aside: their gateway died" in told
    assert "left out: 1 attempts ($8.000000) that are simulated money" in told
    assert "held: 1 attempts ($0.000400) that are counted from what passed" in told


def test_where_all_money_is_simulated_it_is_compared(tmp_path: Path) -> None:
    found = material(reader(written(tmp_path, [bought("play", demo=True), SLICE])), Ask())
    assert ([one.charged for one in found.got], found.doubts.all_simulated) == ([400], True)


def test_bought_with_simulated_money_stands_beside_the_work_of_our_own(tmp_path: Path) -> None:
    """The demo: only what is bought can be simulated money."""
    found = material(reader(written(tmp_path, [bought("play", demo=True), row("ours"), SLICE])), Ask())
    assert {one.kind: one.charged for one in found.got} == {"managed": 400, "local": 1000}
    assert found.doubts.all_simulated


def test_from_a_ledger(url: str) -> None:
    """Two days of an idle worker, and a request each hour that was bought all the same."""
    first = NOON // HOUR_US
    rows = [bought(f"b{n}", ended=NOON + n * HOUR_US, cost=2_000_000) for n in range(48)]
    rows += [row("a", ended=NOON), row("hedge", payer="operator", ended=NOON)]
    minutes = [one for n in range(48) for one in whole_hour(first + n, worker("w1"), worker("w2", gpus=2))]
    ledger = stored(url, rows, minutes)
    stored(url, [], minutes[:60])
    found = facts(ledger, Ask())
    assert (found.hours, len(found.bought), len(found.workers)) == (48, 48, 96)
    assert found.workers[0].fleet.work_us == 2 * 77_000
    assert found.workers[0].fleet.up == 60
    assert {one.kind for one in found.advise(WORLD).advice} == {"idle", "bought_although"}
    made = material(ledger, Ask())
    fleet = made.fleets["gpu"]
    assert (fleet.workers, fleet.gpus, fleet.up, fleet.rent) == (2, 3, 2 * 48 * 60, 2 * 48 * 2_000_000)
    assert [one.requests for one in made.tried] == [1]
    assert made.saved(WORLD).fleets[0]["work_us"] == 2 * 77_000
