"""What a key made at run time opens: never more than its tenant."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidKey, InvalidRequest
from gateway.model import RANK, Demand, IssuedKey, Policy, Quota, Tenant
from gateway.policy.issued import granted, read_new, terms_of
from gateway.routing.globs import fits
from gateway.routing.plan import may_use
from tests.worlds import ZONES, policy

OWN = Quota("tenant acme: concurrent", "requests", 4, "total", "tenant")
NAMES = ["m", "llama-8b", "llama-70b", "x"]
globs = st.none() | st.lists(st.sampled_from(["*", "m", "llama-*", "x?"]), min_size=1, max_size=2)
priorities = st.sampled_from(sorted(RANK))
places = st.none() | st.sampled_from(["local", "eu", "de", "de,us"])
terms = st.fixed_dictionaries(
    {"tenant": st.just("acme")},
    optional={
        "models": globs,
        "priority": priorities,
        "residency": places,
        "tags": st.lists(st.sampled_from(["a", "b"])),
        "limits": st.fixed_dictionaries({"requests_per_minute": st.integers(1, 9)}),
        "budgets": st.lists(st.fixed_dictionaries({"usd": st.floats(0.01, 9), "per": st.just("day")}), max_size=2),
        "expires": st.just("2030-01-01T00:00:00+02:00"),
    },
)


def issued(asked: dict[str, Any], id: str = "ci") -> IssuedKey:
    made = read_new(json.dumps(asked).encode())
    return IssuedKey(id=id, tenant=made.tenant, hash="0" * 64, created=0.0, terms=terms_of(made))


def under(tenant: Tenant) -> Policy:
    return replace(policy(), zones=ZONES, tenants={tenant.name: tenant})


@given(terms, globs, priorities, st.sampled_from([Demand(), Demand(local=True), Demand(zones=frozenset(["eu"]))]))
def test_a_key_has_never_more_than_its_tenant(
    asked: dict[str, Any], models: list[str] | None, priority: Any, residency: Demand
) -> None:
    tenant = Tenant("acme", None if models is None else tuple(models), residency, priority, quotas=(OWN,))
    made = granted(under(tenant), issued(asked))
    assert all(may_use(tenant, name) for name in NAMES if may_use(made, name))
    own = asked.get("models")
    assert all(fits(name, own) for name in NAMES if own is not None and may_use(made, name))
    assert RANK[made.priority] >= RANK[tenant.priority]
    assert made.residency.zones >= residency.zones
    assert made.residency.local >= residency.local
    assert set(made.quotas) >= set(tenant.quotas)
    assert (made.name, made.weight, made.key) == (tenant.name, tenant.weight, "ci")


def test_a_tenant_that_left_the_policy_takes_its_keys_along() -> None:
    key = issued({"tenant": "acme"})
    with pytest.raises(InvalidKey, match="tenant of this key is gone"):
        granted(under(Tenant("other")), key)


def test_a_zone_that_left_the_policy_closes_the_key_and_does_not_loosen_it() -> None:
    key = issued({"tenant": "acme", "residency": "eu"})
    assert granted(under(Tenant("acme")), key).residency == Demand(zones=frozenset(["eu"]))
    without = replace(under(Tenant("acme")), zones={"us": frozenset(["us"])})
    with pytest.raises(InvalidKey, match="zone"):
        granted(without, key)


def test_terms_of_another_release_close_the_key() -> None:
    with pytest.raises(InvalidKey, match="another release"):
        granted(under(Tenant("acme")), replace(issued({"tenant": "acme"}), terms='{"colour": "red"}'))


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "(body)"),
        (b"[]", "(body)"),
        (b'{"id": "a"}', "tenant"),
        (b'{"tenant": "a b"}', "tenant"),
        (b'{"tenant": "a", "id": "gw-SECRET\'; DROP TABLE x"}', "id"),
        (b'{"tenant": "a", "tags": ["\'; DROP TABLE attempts; --"]}', "tags.0"),
        (b'{"tenant": "a", "hash": "gw-SECRET"}', "hash"),
        (b'{"tenant": "a", "expires": "2030-01-01"}', "expires"),
        (b'{"tenant": "a", "expires": "1900000000"}', "expires"),
        (b'{"tenant": "a", "budgets": [{"usd": -1, "per": "day"}]}', "budgets.0.usd"),
        (b'{"tenant": "a", "priority": "gw-SECRET"}', "priority"),
    ],
)
def test_what_is_no_key_is_refused_with_its_place_and_not_quoted(body: bytes, place: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_new(body)
    assert refused.value.param == place
    assert "SECRET" not in refused.value.message


def test_what_is_no_time_is_told_how_one_is_written() -> None:
    with pytest.raises(
        InvalidRequest, match=r'^expires: must be a time with its offset, such as "2030-01-01T00:00:00Z"; '
    ):
        read_new(b'{"tenant": "a", "expires": "tomorrow"}')
