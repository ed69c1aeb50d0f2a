"""Found workers join the policy: who is one worker, what it is called, what it may never become."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.model import FINDINGS, Demand, Discovery, Member, Policy, Snapshot, Source, UpstreamState
from gateway.policy.words import NAME
from gateway.routing.board import Board
from gateway.routing.decide import decide
from gateway.routing.join import derived, found, join, misplaced, plain, url_of
from gateway.routing.residency import allows
from tests.worlds import board, demands, fleets, policy, request, rule, upstream

ALL = (
    Source(registration=True),
    Source(dns="w", port=8000),
    Source(srv="s"),
    Source(service="n/s"),
    Source(pool="n/p"),
)
TEN = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def open_to_all(made: Policy, backend: str = "gpu", **pattern: Any) -> Policy:
    """The same, where further workers of the backend may be found in every way."""
    given = {"zone": "fra", "networks": TEN, "url": "", "key": "secret", **pattern}
    return replace(made, discovery={**made.discovery, backend: Discovery(ALL, upstream("", backend, **given))})


def member(address: str = "10.0.0.9", **changes: Any) -> Member:
    port = changes.get("port", 8000)
    return replace(Member("gpu", "dns", url_of(address, port, False), (address,), port), **changes)


def names(made: Policy, *members: Member, homes: dict[str, frozenset[str]] | None = None) -> list[str]:
    told = found(made, members, homes or {}, {})
    return [one.name for upstreams in told.upstreams.values() for one in upstreams]


@pytest.mark.parametrize(
    ("given", "called"),
    [
        (member(), "gpu-10-0-0-9-8000"),
        (member("fd00::1a"), "gpu-fd00--1a-8000"),
        (member(name="mine", source="registration"), "mine"),
        (member(name="w1", source="registration"), "gpu-10-0-0-9-8000"),
        (member(name="gpu", source="registration"), "gpu-10-0-0-9-8000"),
    ],
)
def test_what_a_found_worker_is_called(given: Member, called: str) -> None:
    assert names(open_to_all(policy()), given) == [called]
    assert re.fullmatch(NAME, called)


def test_a_derived_name_that_is_taken_or_too_long_is_another_one() -> None:
    taken = policy((upstream("gpu-10-0-0-9-8000", "gpu", url="http://10.0.0.1:1"),))
    (called,) = names(open_to_all(taken), member())
    assert re.fullmatch(r"gpu-10-0-0-9-8000-[0-9a-f]{6}", called)
    long = "b" * 64
    assert re.fullmatch(NAME, derived(replace(member("fd00:1111:2222:3333:4444:5555:6666:7777"), backend=long)))


@pytest.mark.parametrize(
    ("members", "called"),
    [
        ([member("10.0.0.1")], []),  # written down: w1 and w2 are there
        ([member("10.0.0.1", port=8001)], ["gpu-10-0-0-1-8001"]),
        ([member(), member(source="service", pod="ml/a")], ["gpu-10-0-0-9-8000"]),
        ([member(), member(source="registration", name="mine")], ["gpu-10-0-0-9-8000"]),
        ([member(source="service", addresses=("10.0.0.9", "fd00::9")), member("fd00::9")], ["gpu-10-0-0-9-8000"]),
        ([member(), member(backend="gpu2")], ["gpu-10-0-0-9-8000"]),
        ([member(backend="nobody")], []),
    ],
)
def test_two_sources_that_name_the_same_worker_name_one_worker(members: list[Member], called: list[str]) -> None:
    made = open_to_all(
        open_to_all(policy((upstream("w1", "gpu"), upstream("x1", "gpu2", url="http://10.9.0.1")))), "gpu2"
    )
    for given_order in (members, members[::-1]):
        assert names(made, *given_order) == called


def test_a_host_name_that_is_written_down_is_who_answers_there() -> None:
    made = open_to_all(policy((upstream("w1", "gpu", url="http://one.internal:8000"),)))
    assert names(made, member(), homes={"one.internal": frozenset({"10.0.0.9"})}) == []
    assert names(made, member(), homes={"one.internal": frozenset({"10.0.0.8"})}) == ["gpu-10-0-0-9-8000"]


def test_all_that_a_worker_is_comes_from_its_backend_and_its_pod_from_whoever_knows_it() -> None:
    made = open_to_all(policy(), usd_per_hour=3.5, seats=7)
    told = found(made, [member(), member(source="pool", pod="ml/a"), member(source="service", pod="ml/a")], {}, {})
    (one,) = told.upstreams["gpu"]
    pattern = made.discovery["gpu"].pattern
    assert one == replace(pattern, name="gpu-10-0-0-9-8000", url="http://10.0.0.9:8000", pod="ml/a", source="pool")


@pytest.mark.parametrize("how", [how for how in FINDINGS if how != "registration"])
@pytest.mark.parametrize("claim", [{"backend": "gpu2"}, {"url": "https://10.0.0.9:8000"}, {"name": "mine"}])
def test_a_registration_moves_nobody_whom_the_policys_own_source_finds(how: Any, claim: dict[str, Any]) -> None:
    made = open_to_all(
        open_to_all(policy((upstream("x1", "gpu2", url="http://10.9.0.1"), upstream("w1", "gpu")))), "gpu2"
    )
    told = found(made, [member(source=how), member(source="registration", **claim)], {}, {})
    (one,) = told.upstreams.pop("gpu")
    assert (one.name, one.url, one.source) == ("gpu-10-0-0-9-8000", "http://10.0.0.9:8000", how)
    assert not told.upstreams


@pytest.mark.parametrize(
    ("given", "page"),
    [
        (member(), "http://10.0.0.9:9400/metrics"),
        (member("fd00::1a"), "http://[fd00::1a]:9400/metrics"),
        (member(url="https://w.internal:8443", source="registration"), "http://10.0.0.9:9400/metrics"),
    ],
)
def test_the_gpu_page_of_a_found_worker_is_at_its_address(given: Member, page: str) -> None:
    made = open_to_all(policy(), dcgm="http://{host}:9400/metrics", gpus=(0, 1))
    (one,) = found(made, [given], {}, {}).upstreams["gpu"]
    assert (one.dcgm, one.gpus) == (page, (0, 1))
    assert found(made, [given], {}, {one.name: one}).upstreams["gpu"][0] is one, "the same object as before"


def test_one_that_any_source_sees_leave_is_leaving_a_written_one_too() -> None:
    made = open_to_all(policy())
    told = found(made, [member(), member(source="pool", leaving=True), member("10.0.0.1", leaving=True)], {}, {})
    assert told.leaving == {"gpu-10-0-0-9-8000", "w1"} or told.leaving == {"gpu-10-0-0-9-8000", "w2"}


def test_a_source_that_the_policy_no_longer_has_counts_no_more() -> None:
    made = open_to_all(policy())
    only_dns = replace(made, discovery={"gpu": replace(made.discovery["gpu"], sources=(ALL[1],))})
    assert names(only_dns, member(), member("10.0.0.8", source="registration")) == ["gpu-10-0-0-9-8000"]


def test_who_has_not_changed_stays_the_same_object() -> None:
    made = open_to_all(policy())
    first = found(made, [member(), member("10.0.0.8")], {}, {})
    whole = join(made, first)
    again = found(made, [member(), member("10.0.0.7")], {}, whole.upstreams)
    kept = next(one for one in again.upstreams["gpu"] if one.name == "gpu-10-0-0-9-8000")
    assert kept is whole.upstreams["gpu-10-0-0-9-8000"]
    later = join(whole, again)
    assert later.upstreams.keys() == {"w1", "w2", "a1", "gpu-10-0-0-9-8000", "gpu-10-0-0-7-8000"}
    assert later.version == made.version
    assert join(later, found(made, [], {}, {})) == join(made, found(made, [], {}, {}))


@pytest.mark.parametrize(
    ("addresses", "wrong"),
    [
        (["10.0.0.9"], None),
        (["::ffff:10.0.0.9"], None),
        (["10.0.0.9", "192.0.2.1"], "networks"),
        ([], "no address"),
        (["169.254.169.254"], "metadata"),
        (["::ffff:169.254.169.254"], "metadata"),
        (["fd00:ec2::254"], "metadata"),
        (["0.0.0.0"], "reserved"),
        (["::"], "reserved"),
        (["224.0.0.1"], "multicast"),
        (["ff02::1"], "multicast"),
        (["fe80::1%eth0"], "link-local"),
    ],
)
def test_where_a_worker_may_be(addresses: list[str], wrong: str | None) -> None:
    for networks in (TEN, (*TEN, ip_network("0.0.0.0/0"), ip_network("::/0"))):
        said = misplaced(addresses, networks)
        if wrong == "networks" and len(networks) > len(TEN):
            continue
        assert (said is None) if wrong is None else (said is not None and wrong in said)
    assert not any(address in (misplaced(addresses, TEN) or "") for address in addresses if len(address) > 2)


ADDRESSES = ["10.0.0.1", "10.0.0.9", "fd00::9", "fd00:ec2::254", "169.254.169.254", "192.0.2.9", "127.0.0.1"]
members = st.builds(
    lambda backend, source, address, port, name, leaving: member(
        address, backend=backend, source=source, port=port, name=name, leaving=leaving
    ),
    st.sampled_from(["gpu", "gpu2", "api", "elsewhere"]),
    st.sampled_from(FINDINGS),
    st.sampled_from(ADDRESSES),
    st.integers(1, 3),
    st.sampled_from([None, "u0", "u1", "api", "free"]),
    st.booleans(),
)


@given(fleets(), st.lists(members, max_size=8), demands, st.integers(0, 9))
def test_a_found_worker_gets_nothing_that_its_backend_may_not(
    made: Policy, told: list[Member], demand: Any, seed: int
) -> None:
    """Whatever is found: kind, zone, networks and credentials are its backend's, and a permit names it only where its
    backend's zone holds the data."""
    local = [name for name in made.backends if name.startswith("gpu")]
    for name in local:
        made = open_to_all(made, name, zone=made.backends[name][0].zone)
    whole = join(made, found(made, told, {}, {}))
    assert len({(one.url) for one in whole.upstreams.values() if one.source}) == sum(
        1 for one in whole.upstreams.values() if one.source
    )
    for name, one in made.upstreams.items():
        assert whole.upstreams[name] is one, "what is written down is not touched"
    for one in whole.upstreams.values():
        if one.source is not None:
            pattern = made.discovery[one.backend].pattern
            assert replace(one, name="", url="", pod=None, source=None) == pattern
            assert one.kind == "local"
            assert any(plain(re.sub(r"^http://\[?|\]?:\d+$", "", one.url)) in network for network in TEN)
            assert ip_address("fd00:ec2::254") != plain(re.sub(r"^http://\[?|\]?:\d+$", "", one.url))
    states = {name: UpstreamState(one) for name, one in whole.upstreams.items()}
    try:
        decision = decide(request(residency=demand), Board(whole, Snapshot(100.0, states)), Random(seed))
    except GatewayError:
        return
    for name in decision.permit.upstreams:
        assert allows(decision.demand, whole.upstreams[name], whole.zones)


@pytest.mark.parametrize(
    ("demand", "told"),
    [
        ({}, (503, "no_capacity")),
        ({"zones": frozenset({"eu"})}, (503, "no_capacity")),
        ({"zones": frozenset({"us"})}, (403, "residency_refused")),
    ],
)
def test_a_backend_that_has_found_nobody_yet_is_down_not_unknown(demand: Any, told: tuple[int, str]) -> None:
    made = open_to_all(policy(rules=(rule(spill=None),)))
    made = replace(made, backends={**made.backends, "gpu": ()}, upstreams={"a1": made.upstreams["a1"]})
    with pytest.raises(GatewayError) as raised:
        decide(request(residency=Demand(**demand)), board(made), Random(1))
    assert (raised.value.status, raised.value.code) == told


@pytest.mark.parametrize("states", [{"w1": {"out": "drained"}, "w2": {"out": "leaving"}}, None])
def test_where_nobody_at_home_takes_anything_its_fallback_does(states: dict[str, Any] | None) -> None:
    made = open_to_all(policy(rules=(rule(fallback=("api",)),)))
    if states is None:
        made = replace(made, backends={**made.backends, "gpu": ()}, upstreams={"a1": made.upstreams["a1"]})
    decision = decide(request(), board(made, **(states or {})), Random(1))
    assert [(group.backend, group.outcome, group.reason) for group in decision.overflow] == [
        ("api", "fallback", "no_healthy_worker")
    ]
    assert decision.drops == ({"drained": 2} if states else {})


def test_an_empty_backend_where_its_data_may_not_go_is_no_reason_to_fall_back() -> None:
    """What may not go to any worker there, present or not, leaves by the rule's spill as it always does."""
    api = upstream("a1", "api", zone="ams", private_in=frozenset({"ams", "eu"}))
    made = open_to_all(policy((upstream("w1", "gpu"), api), rules=(rule(),)), zone="us")
    made = replace(made, backends={**made.backends, "gpu": ()}, upstreams={"a1": api})
    decision = decide(request(residency=Demand(zones=frozenset({"eu"}))), board(made), Random(1))
    assert [(group.backend, group.outcome) for group in decision.overflow] == [("api", "spilled")]


def test_a_request_finds_who_joined_since(  # as Forward does: the policy is its own, by whoever has joined it
) -> None:
    made = open_to_all(policy((upstream("w1", "gpu"),), rules=(rule(spill=None),)))
    whole = join(made, found(made, [member()], {}, {}))
    decision = decide(request(), board(whole, w1={"out": "down"}), Random(1))
    (group,) = decision.primary
    assert [one.upstream.name for one in group.candidates] == ["gpu-10-0-0-9-8000"]
    assert decision.permit.upstreams == {"w1", "gpu-10-0-0-9-8000"}
    assert decision.permit.policy == made.version
