"""Which quotas are about what, and the most that may be taken of them."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Kind, MediaRate, Model, Price, Quota, Tenant, Tokens, Usage
from gateway.routing.bill import bill
from gateway.routing.decide import decide
from gateway.routing.estimate import UNSEEN_TOKENS, price_ceiling
from gateway.routing.learn import PRIOR
from gateway.routing.quotas import (
    TYPICAL_MULTIPLE,
    Quotas,
    Room,
    about,
    all_quotas,
    home_first,
    most_tokens,
    tightest,
    tokens_of,
)
from tests.routing.test_reference import Words
from tests.worlds import board, policy, request, rule, upstream

USD = Quota("usd", "usd", 100, "day")
MODEL = Model("m", "text", ())
PRICE = Price.of(input_per_1m=1.0, output_per_1m=2.0)


@pytest.mark.parametrize(
    ("changes", "where", "counts"),
    [
        ({}, ("m", "api", "managed", None), True),
        ({}, ("m", "gpu", "local", None), False),
        ({"local": True}, ("m", "gpu", "local", None), True),
        ({"models": ("m*",)}, ("many", "api", "managed", None), True),
        ({"models": ("x",)}, ("m", "api", "managed", None), False),
        ({"backends": ("api",)}, ("m", "api", "managed", None), True),
        ({"backends": ("api",)}, ("m", "api2", "managed", None), False),
        ({"pipelines": ("p-*",)}, ("m", "api", "managed", "p-1"), True),
        ({"pipelines": ("p-*",)}, ("m", "api", "managed", "q"), False),
        ({"pipelines": ("*",)}, ("m", "api", "managed", None), False),
        ({"models": ("m",), "backends": ("api",), "pipelines": ("p",)}, ("m", "api", "managed", "p"), True),
        ({"models": ("m",), "backends": ("api",), "pipelines": ("p",)}, ("m", "api", "managed", "x"), False),
    ],
)
def test_what_a_budget_is_about(
    changes: dict[str, Any], where: tuple[str, str, Kind, str | None], counts: bool
) -> None:
    assert about(replace(USD, **changes), *where) is counts


names = st.sampled_from(["a", "ab", "b"])
globs = st.lists(st.sampled_from(["a", "a*", "b", "*", "?"]), max_size=2).map(tuple)
quotas = st.lists(
    st.builds(
        Quota,
        st.text("xyz", min_size=1, max_size=3),
        st.sampled_from(["usd", "requests", "tokens", "concurrent"]),
        st.just(5),
        st.just("day"),
        local=st.booleans(),
        models=globs,
        backends=st.lists(names, max_size=2).map(tuple),
        pipelines=globs,
    ),
    max_size=4,
).map(tuple)


@given(
    st.lists(
        st.tuples(quotas, quotas, names, names, st.sampled_from(["local", "managed"]), st.none() | names), max_size=6
    )
)
def test_what_is_remembered_is_what_was_found(asked: list[tuple[Any, ...]]) -> None:
    """Whatever was asked before: each request its limits, each attempt the budgets that are about it, once each."""
    memo = Quotas()
    for own, shared, model, backend, kind, pipeline in asked * 2:
        tenant = Tenant("t", quotas=own)
        assert memo.of_request(tenant) == tuple(one for one in own if one.unit != "usd")
        charged = memo.of_attempt(tenant, shared, model, backend, kind, pipeline)
        assert charged == tuple(
            one for one in (*own, *shared) if one.unit == "usd" and about(one, model, backend, kind, pipeline)
        )


def test_equal_tenants_that_are_two_objects_do_not_share_an_answer() -> None:
    memo = Quotas()
    for cap in range(50):
        assert memo.of_request(Tenant("t", quotas=(Quota("q", "requests", cap, "day"),)))[0].cap == cap


@pytest.mark.parametrize(
    ("asked", "model", "most"),
    [
        ({"max_tokens": 10}, {}, (13, 10)),
        ({"max_tokens": 10, "n": 3}, {}, (13, 30)),
        ({"max_tokens": None}, {}, None),
        ({"max_tokens": None}, {"output_cap": 7}, (13, 7)),
        ({"max_tokens": 10}, {"output_cap": 7}, (13, 10)),
        ({"max_tokens": 10}, {"input_cap": 5}, (5, 10)),
        ({"max_tokens": 10, "text_only": False}, {}, None),
        ({"max_tokens": 10, "text_only": False}, {"input_cap": 5_000}, (5_000, 10)),
        ({"max_tokens": 0}, {}, (13, 0)),
        ({"max_tokens": 10, "prompt_bytes": 900, "whole": (400, 50)}, {}, (513, 10)),  # the rest of a stream
        ({"max_tokens": 10, "endpoint": "messages"}, {}, (13 + UNSEEN_TOKENS["messages"], 10)),
        # It may be translated for an API that adds as much to a prompt with tools.
        ({"max_tokens": 10, "reworded": Words(tools=True)}, {}, (13 + UNSEEN_TOKENS["messages"], 10)),
        ({"max_tokens": 10, "reworded": Words()}, {}, (13, 10)),
    ],
)
def test_the_most_tokens(asked: dict[str, Any], model: dict[str, Any], most: tuple[int, int] | None) -> None:
    assert most_tokens(request(**asked), replace(MODEL, **model)) == most


def test_what_is_free_needs_no_bound() -> None:
    open_end = request(max_tokens=None, text_only=False)
    assert Quotas().most_charged(open_end, MODEL, Price()) == 0
    assert Quotas().most_charged(open_end, MODEL, Price.of(per_request=0.1)) is None
    assert Quotas().most_charged(open_end, MODEL, PRICE) is None


def test_two_prices_do_not_share_an_answer() -> None:
    memo, asked = Quotas(), request(max_tokens=10)
    found = [memo.most_charged(asked, MODEL, Price.of(rate)) for rate in (1.0, 2.0, 0.0, 1.0)]
    assert found == [13, 26, 0, 13]
    tiered = Price.of(1.0, 1.0), replace(Price.of(1.0, 1.0), tiers=((13, Price.of(3.0, 4.0).tokens),))
    assert [memo.most_charged(asked, MODEL, price) for price in tiered * 2] == [23, 79, 23, 79]


@given(st.integers(0, 13), st.integers(0, 40), st.integers(1, 4))
def test_no_bill_is_higher_than_what_was_set_aside(prompt: int, output: int, n: int) -> None:
    asked = request(max_tokens=10, n=n)
    most = Quotas().most_charged(asked, MODEL, PRICE)
    assert most is not None
    assert bill(PRICE, Usage(prompt, min(output, 10 * n))) <= most


TIERED = Price(Tokens(10**7, 10**7), tiers=((300, Tokens(10**6, 10**6, cached_input=2 * 10**7)),))
BY_THE_JOB = Price(media=(MediaRate("generation", 5 * 10**11),))


@pytest.mark.parametrize("price", [PRICE, TIERED, BY_THE_JOB])
@pytest.mark.parametrize("endpoint", ["chat/completions", "messages"])
@given(st.integers(0, 13), st.integers(0, 10))
def test_what_is_set_aside_and_what_filters_compare_is_the_same_and_bounds_the_bill(
    price: Price, endpoint: Any, prompt: int, output: int
) -> None:
    asked = request(max_tokens=10, endpoint=endpoint)
    most, ceiling = Quotas().most_charged(asked, MODEL, price), price_ceiling(price, asked)
    assert most is not None
    assert ceiling == most / 10**6
    billed = bill(price, Usage(prompt + UNSEEN_TOKENS.get(endpoint, 0), output))
    assert billed is not None
    assert billed <= most


def test_tokens_of_an_answer_that_nobody_bounds() -> None:
    prompt = round(request().prompt_bytes / PRIOR.bytes_per_token)
    assert tokens_of(request(max_tokens=10, n=2), MODEL, PRIOR) == prompt + 20
    assert tokens_of(request(max_tokens=None), replace(MODEL, output_cap=7), PRIOR) == prompt + 7
    assert tokens_of(request(max_tokens=None), None, PRIOR) == prompt + round(TYPICAL_MULTIPLE * PRIOR.output)


def test_past_a_soft_budget() -> None:
    """Ours come first, with all the patience of what cannot leave; where none of ours may serve it nothing changes."""
    made = policy(
        (upstream("a1", "api"), upstream("w1", "gpu"), upstream("b1", "api2")),
        (rule(backends=("api", "gpu"), spill=None, kept_wait=5.0),),
    )
    before = decide(request(), board(made), Random(1))
    after = home_first(replace(before, spill_now="queue_depth > 1"))
    assert [group.backend for group in before.primary] == ["api", "gpu"]
    assert [group.backend for group in after.primary] == ["gpu"]
    assert [group.backend for group in after.overflow] == ["api"]
    assert (after.max_wait, after.spill_now) == (5.0, None)
    bought = replace(before, primary=before.primary[:1])
    assert home_first(bought) is bought


def test_the_tightest_window() -> None:
    rooms = [Room(USD, 5, 100.0), Room(USD, 3, 50.0), Room(USD, 3, 90.0)]
    assert tightest(rooms) == rooms[2]


def test_every_quota_of_a_policy_once() -> None:
    whole, own = Quota("t", "requests", 5, "day"), Quota("k", "requests", 5, "day")
    tenant = Tenant("t", quotas=(whole,))
    made = policy(tenants={"t": tenant}, keys={"h": replace(tenant, quotas=(whole, own))}, quotas=(USD,))
    assert all_quotas(made) == (USD, whole, own)
