"""What was saved, against tables worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from gateway.model import US_PER_HOUR, MediaRate, Model, Policy, Price, Served, Tokens, Upstream, per_million, pico
from gateway.reports.elsewhere import Cost, Traffic, Unknown, on_sums
from gateway.reports.fleet_cost import Fleet
from gateway.reports.saved import OfModel, saved, with_work
from tests.worlds import policy, upstream

LIST = Price.of(input_per_1m=1.0, output_per_1m=4.0)
CONTRACT = replace(Price.of(input_per_1m=0.8, output_per_1m=3.2), listed=LIST)
DEAR = Price.of(input_per_1m=2.0, output_per_1m=8.0)
CHAT = Model("chat", "text", (Served("gpu", "l"), Served("api", "a", CONTRACT), Served("api2", "b", DEAR)))
PICTURES = Model(
    "pic", "image", (Served("gpu", "p"), Served("api", "i", Price(media=(MediaRate("image", pico("0.04")),))))
)
OWN = Model("own", "text", (Served("gpu", "o"), Served("api", "x", CONTRACT)), custom=True)
WORKER = upstream("w1", "gpu", seats=128, usd_per_hour=2.0)
"""0.04 ms per prompt token, 0.185 ms per output token; $2.00 an hour."""


def world(*models: Model, worker: Upstream = WORKER) -> Policy:
    made = {one.name: one for one in models}
    return policy((worker, upstream("a1", "api"), upstream("a2", "api2")), models=made)


LOCAL = Traffic(
    "chat", "gpu", "local", requests=1000, input_tokens=2_000_000, output_tokens=500_000, gpu_us=172_500_000
)
BOUGHT = Traffic(
    "chat",
    "api",
    "managed",
    requests=500,
    input_tokens=1_000_000,
    output_tokens=250_000,
    charged=1_600_000,
    at_list=2_000_000,
)
FLEET = {"gpu": Fleet("gpu", "H100", up=60, priced=60, rate_sum=60 * 2_000_000)}


def of(got: list[Traffic], *models: Model, tried: list[Traffic] | None = None, **given: object) -> OfModel:
    fleets = with_work(given.get("fleets", FLEET), [*got, *(tried or [])])  # type: ignore[arg-type]
    (only,) = saved(got, tried or [], fleets, world(*models)).models
    return only


def test_chat_by_hand() -> None:
    """Rent of the hour $2.00, all of it for chat; bought $1.60 (list $2.00): together $3.60 ($4.00).
    All bought: 2M x $0.80 + 0.5M x $3.20 = $3.20 more ($4.00 at list). All local: the bought tokens take
    1M x 40 us + 0.25M x 185 us = 86.25 s of a worker, at $2.00 / 0.75 an hour 6.3889 cents."""
    found = of([LOCAL, BOUGHT], CHAT)
    assert figures(found.actual) == (3_600_000, 4_000_000)
    assert figures(found.all_managed) == (1_600_000 + 3_200_000, 2_000_000 + 4_000_000)
    assert figures(found.all_local) == (2_000_000 + 63_889, 2_000_000 + 63_889)


def test_the_sums_and_what_is_left_out() -> None:
    own = replace(LOCAL, model="own")
    got = [LOCAL, BOUGHT, own]
    found = saved(got, [], with_work(FLEET, got), world(CHAT, OWN))
    assert (found.beside_managed.models, found.beside_managed.without) == (("chat",), ("own",))
    # the rent halves: two models did the same work
    assert (found.beside_managed.contract, found.beside_managed.list) == (4_800_000 - 2_600_000, 6_000_000 - 3_000_000)
    assert found.beside_local.models == ("chat", "own")
    assert found.beside_local.contract == 63_889 - 1_600_000


def test_what_the_operator_paid_is_in_what_it_cost_but_would_not_be_bought_again() -> None:
    hedge = replace(BOUGHT, charged=300_000, at_list=400_000)
    found, plain = of([LOCAL, BOUGHT], CHAT, tried=[hedge]), of([LOCAL, BOUGHT], CHAT)
    assert figures(found.actual) == (3_900_000, 4_400_000)
    assert (found.all_managed, found.all_local) == (plain.all_managed, plain.all_local)


def test_without_worker_hours_work_is_priced_at_the_stated_utilisation() -> None:
    """172.5 s at $2.00 an hour and 75 %: 12.7778 cents."""
    found = of([LOCAL], CHAT, fleets={})
    assert figures(found.actual) == (127_778, 127_778)
    assert isinstance(found.actual, Cost)
    assert "0.75 utilisation, assumed" in found.actual.working


def test_idle_backends_are_told() -> None:
    found = saved([], [], FLEET, world(CHAT))
    assert (found.idle_rent, found.models) == (2_000_000, ())


PICS = Traffic("pic", "gpu", "local", requests=90, images=100, gpu_us=US_PER_HOUR // 10)


def test_pictures_take_what_ours_took() -> None:
    """100 pictures took a tenth of an hour, so 50 take a twentieth: $2.00 / 20 / 0.75 = 13.3334 cents."""
    sold = Traffic("pic", "api", "managed", requests=50, images=50, charged=2_000_000, at_list=2_000_000)
    found = of([PICS, sold], PICTURES)
    assert figures(found.all_managed) == (6_000_000, 6_000_000)
    assert figures(found.all_local) == (2_000_000 + 133_334, 2_000_000 + 133_334)


UNKNOWN = [
    ("actual", of([replace(LOCAL, gpu_us=0)], CHAT), "no work was recorded for it on gpu"),
    ("actual", of([replace(BOUGHT, unpriced=3)], CHAT), "3 attempts have no price"),
    ("all_managed", of([replace(LOCAL, model="own")], OWN), "the model is ours alone: nobody sells it"),
    ("all_managed", of([LOCAL], Model("chat", "text", (Served("gpu", "l"),))), "no API of the policy serves it"),
    ("all_managed", of([LOCAL], Model("chat", "text", (Served("api", "l"),))), "api has no price"),
    ("all_managed", of([LOCAL], PICTURES), "the policy in force does not have this model"),
    ("all_local", of([BOUGHT], Model("chat", "text", (Served("api", "l"),))), "no backend of ours serves it"),
    ("all_local", of([Traffic("pic", "api", "managed", requests=1, images=1)], PICTURES),
     "no images of it were made on our own GPUs, so their work is not known"),
]  # fmt: skip


@pytest.mark.parametrize(("way", "found", "why"), UNKNOWN)
def test_what_is_not_known_is_said(way: str, found: OfModel, why: str) -> None:
    assert getattr(found, way) == Unknown(why)


QUALITIES = Price(media=(MediaRate("image", pico("0.006"), quality="low"), MediaRate("image", pico("0.211"), "high")))
SUMS = [
    (Price.of(1.0, 4.0, 0.001), LOCAL, 4_000_000 + 1_000_000),
    (Price(Tokens(pico("0.000001")), tiers=((1500, Tokens(per_million(3))),)), LOCAL, 6_000_000),
    (Price(media=(MediaRate("second", pico("0.05")),)), Traffic("v", "g", "local", requests=2, seconds=8.5), 425_000),
    (
        Price(media=(MediaRate("generation", pico("0.098")),)),
        Traffic("v", "g", "local", requests=2, seconds=9),
        196_000,
    ),
    (QUALITIES, PICS, "the image is sold by quality, size or length, which the ledger does not keep"),
    (
        Price(media=(MediaRate("audio_second", 5),)),
        PICS,
        "it is sold by the audio_second, which the ledger does not keep",
    ),
    (Price.of(1.0, 4.0), PICS, "it has no rate for images"),
    (Price(), LOCAL, "its rates are 0"),
    (LIST, Traffic("m", "g", "local", requests=5), "no usage was recorded"),
]


@pytest.mark.parametrize(("price", "traffic", "cost"), SUMS)
def test_a_price_on_sums(price: Price, traffic: Traffic, cost: int | str) -> None:
    assert on_sums(price, traffic) == cost


def test_each_unit_of_our_own_has_its_price_and_its_utilisation() -> None:
    """The rent of $2.00 for 100 pictures, made in a tenth of the hour: 2 cents each; at 100 % a tenth of that. With
    overhead of 3 three times as much."""
    (own,) = saved([PICS], [], with_work(FLEET, [PICS]), world(PICTURES)).own
    assert (own.cost, own.utilisation) == (2_000_000, Fraction(1, 10))
    assert own.each == {"images": pico("0.02")}
    assert own.each_at_full == {"images": pico("0.002")}
    dear = {"gpu": replace(FLEET["gpu"], rate_sum=3 * 60 * 2_000_000, overhead=3.0)}
    (own,) = saved([PICS], [], with_work(dear, [PICS]), world(PICTURES)).own
    assert own.each == {"images": pico("0.06")}


def test_tokens_of_our_own() -> None:
    """2.5 million for $2.00: 80 cents per million."""
    (own,) = saved([LOCAL], [], with_work(FLEET, [LOCAL]), world(CHAT)).own
    assert own.each == {"tokens": 800_000}


def test_a_stated_utilisation_counts() -> None:
    half = saved([BOUGHT], [], {}, world(CHAT), Fraction(1, 2)).models[0].all_local
    assert figures(half) == (95_834, 95_834)


def figures(cost: Cost | Unknown) -> tuple[int, int]:
    assert isinstance(cost, Cost), cost
    return cost.contract, cost.list
