from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ResidencyUnknown
from gateway.model import Demand
from gateway.routing.residency import allows, parse_demand, strictest
from tests.worlds import ZONES, demands, upstream


@pytest.mark.parametrize(
    ("text", "demand"),
    [
        (None, Demand()),
        ("local", Demand(local=True)),
        ("LOCAL", Demand(local=True)),
        ("eu", Demand(zones=frozenset({"eu"}))),
        (" eu , de ", Demand(zones=frozenset({"eu", "de"}))),
        ("eu,local", Demand(local=True, zones=frozenset({"eu"}))),
        ("eu,eu", Demand(zones=frozenset({"eu"}))),
    ],
)
def test_a_demand_is_read(text: str | None, demand: Demand) -> None:
    assert parse_demand(text, ZONES) == demand


@pytest.mark.parametrize(
    "text",
    ["", " ", ",", "eu,", "mars", "eu;de", "eu de", "lo cal", "local\xa0", "eu\x00", "é", "-eu", "a" * 64, "eu," * 20],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ResidencyUnknown):
        parse_demand(text, ZONES)


@given(st.text(max_size=40))
def test_any_text_is_a_demand_or_refused(text: str) -> None:
    try:
        demand = parse_demand(text, ZONES)
    except ResidencyUnknown:
        return
    assert demand.zones <= ZONES.keys()
    assert demand, "no text may come out as no demand"


@given(st.lists(demands, max_size=4))
def test_the_strictest_holds_all_of_them(given_demands: list[Demand]) -> None:
    together = strictest(*given_demands)
    assert together.local == any(d.local for d in given_demands)
    for demand in given_demands:
        assert demand.zones <= together.zones


@pytest.mark.parametrize(
    ("demand", "backend", "zone", "private", "allowed"),
    [
        (Demand(), "api", "us", (), True),
        (Demand(local=True), "gpu", "fra", (), True),
        (Demand(local=True), "api", "fra", ("fra",), False),  # a private endpoint is still not our machine
        (Demand(zones=frozenset({"eu"})), "gpu", "fra", (), True),
        (Demand(zones=frozenset({"de"})), "gpu", "ams", (), False),
        (Demand(zones=frozenset({"de", "eu"})), "gpu", "fra", (), True),
        (Demand(zones=frozenset({"us"})), "api", "us", (), False),  # hosted there, but not declared private
        (Demand(zones=frozenset({"eu"})), "api", "us", ("fra",), True),
        (Demand(zones=frozenset({"de"})), "api", "fra", ("ams",), False),
        (Demand(local=True, zones=frozenset({"de"})), "gpu", "ams", (), False),
    ],
)
def test_where_data_may_go(demand: Demand, backend: str, zone: str, private: tuple[str, ...], allowed: bool) -> None:
    assert allows(demand, upstream("u", backend, zone=zone, private_in=frozenset(private)), ZONES) is allowed


@given(demands, demands, st.sampled_from(sorted(ZONES)), st.booleans())
def test_a_stricter_demand_never_allows_more(one: Demand, other: Demand, zone: str, managed: bool) -> None:
    target = upstream(
        "u", "api" if managed else "gpu", zone=zone, private_in=frozenset({zone}) if managed else frozenset()
    )
    if allows(strictest(one, other), target, ZONES):
        assert allows(one, target, ZONES)
        assert allows(other, target, ZONES)
