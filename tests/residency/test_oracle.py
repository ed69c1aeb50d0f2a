"""The oracle's own statement of the promise, row by row."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.residency import oracle
from loadtests.residency.oracle import Ask, Backend, Rule, World

WITHIN = {"fra": ("de",), "de": ("eu",), "eu": (), "us": ()}
HOME = Backend("gpu", True, "fra", (), ("10.0.0.0/8",), ("10.0.0.1",))
CLOUD = Backend("cloud", False, "fra", (), (), ("10.0.0.2",))
PRIVATE = Backend("private", False, "us", ("de",), ("10.0.0.0/8",), ("10.0.0.3",))
OTHER = Backend("other", False, "de", ("de",), (), ("10.0.0.4",))
ALL = Rule("all", {}, ("gpu",), ("cloud", "private"), (), ())
WORLD = World("v", WITHIN, (HOME, CLOUD, PRIVATE, OTHER), {"m": ()}, {"t": ()}, (ALL,))
ASK = Ask("m", "t", (), "standard", False, "messages")


@pytest.mark.parametrize(
    ("texts", "reached"),
    [
        ((), "1234"),
        (("local",), "1"),
        (("eu",), "13"),
        (("de",), "13"),
        (("fra",), "1"),
        (("us",), ""),
        (("eu", "local"), "1"),
        ((" EU ,de",), "13"),
        (("mars",), ""),
        (("",), ""),
        (("eu,",), ""),
    ],
)
def test_where_data_may_go(texts: tuple[str, ...], reached: str) -> None:
    hosts = [f"10.0.0.{number}" for number in (1, 2, 3, 4)]
    may = [host for host in hosts if oracle.forbidden(WORLD, replace(ASK, texts=texts), host, host) is None]
    assert "".join(host[-1] for host in may) == reached


def test_who_else_has_a_say() -> None:
    for world in (
        replace(WORLD, models={"m": ("local",)}),
        replace(WORLD, tenants={"t": ("local",)}),
        replace(WORLD, rules=(replace(ALL, words=("local",)),)),
    ):
        assert oracle.forbidden(world, ASK, "10.0.0.1", "10.0.0.1") is None
        assert oracle.forbidden(world, ASK, "10.0.0.3", "10.0.0.3") == "its data must stay in `local`"


def test_peers_and_addresses() -> None:
    assert oracle.forbidden(WORLD, ASK, "10.0.0.1", "192.0.2.7") == "a peer outside the networks of its backend"
    assert oracle.forbidden(WORLD, ASK, "10.0.0.9", "10.0.0.9") is not None


@pytest.mark.parametrize(
    ("match", "met"),
    [
        ({}, True),
        ({"model": "m*", "tenant": "t", "priority": "standard", "stream": "no", "endpoint": "messages"}, True),
        ({"model": "x*"}, False),
        ({"tenant": "u"}, False),
        ({"stream": "yes"}, False),
        ({"residency": "any"}, True),
        ({"residency": "none"}, False),
        ({"residency": "local"}, False),
        ({"residency": "eu"}, True),
        ({"residency": "fra"}, False),
    ],
)
def test_which_rule_is_about_it(match: dict[str, str], met: bool) -> None:
    assert oracle.meets(WORLD, match, ASK, {"de"}) is met
