from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gateway.errors import InvalidKey, KeyExpired
from gateway.model import Tenant
from gateway.money.keys import ANYBODY, Keys, credential, hash_key, new_key
from tests.worlds import policy

PEPPER, KEY = "pepper", "hrg-abc"
TENANT = Tenant("acme")
KEYED = replace(policy(), tenants={"acme": TENANT}, keys={hash_key(PEPPER, KEY): TENANT})
DEMO = replace(policy(), tenants={"acme": TENANT}, keys={"demo": TENANT}, simulated=True)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({b"authorization": b"Bearer k1"}, "k1"),
        ({b"authorization": b"bearer  k1 "}, "k1"),
        ({b"x-api-key": b"k2"}, "k2"),
        ({b"authorization": b"Bearer k1", b"x-api-key": b"k2"}, "k1"),
        ({b"authorization": b"Basic k1"}, None),
        ({b"authorization": b"Bearer "}, None),
        ({b"x-api-key": b""}, None),
        ({}, None),
    ],
)
def test_where_a_key_may_stand(headers: dict[bytes, bytes], key: str | None) -> None:
    assert credential(headers) == key


def test_a_key_is_its_tenant() -> None:
    assert Keys(PEPPER).tenant(KEYED, {b"x-api-key": KEY.encode()}, "203.0.113.7") is TENANT


@pytest.mark.parametrize("key", [b"", b"wrong", b"demo", b"hrg-ab", hash_key(PEPPER, KEY).encode(), b"\xff\xfe"])
def test_anything_else_is_refused_without_being_quoted(key: bytes) -> None:
    with pytest.raises(InvalidKey) as caught:
        Keys(PEPPER).tenant(KEYED, {b"x-api-key": key}, "127.0.0.1")
    assert not key or key.decode("latin-1") not in caught.value.message


def test_another_pepper_opens_nothing() -> None:
    with pytest.raises(InvalidKey):
        Keys("other").tenant(KEYED, {b"x-api-key": KEY.encode()}, "127.0.0.1")


def test_the_demo_key_needs_a_simulated_folder() -> None:
    headers = {b"authorization": b"Bearer demo"}
    assert Keys("").tenant(DEMO, headers, "203.0.113.7") is TENANT
    with pytest.raises(InvalidKey):
        Keys("").tenant(replace(DEMO, simulated=False), headers, "127.0.0.1")


HERE = {b"host": b"localhost:8080"}


def test_without_tenants_direct_calls_are_anybodys() -> None:
    assert Keys("").tenant(policy(), HERE, "127.0.0.1") is ANYBODY
    assert Keys("").tenant(policy(), {**HERE, b"x-api-key": b"any"}, "::1") is ANYBODY


@pytest.mark.parametrize(
    ("headers", "peer", "why"),
    [
        (HERE, "10.0.0.4", "elsewhere"),
        (HERE, None, "elsewhere"),
        ({**HERE, b"x-forwarded-for": b"127.0.0.1"}, "127.0.0.1", "proxy"),
        ({**HERE, b"origin": b"https://evil.example"}, "127.0.0.1", "web page"),
        ({b"host": b"evil.example"}, "127.0.0.1", "`host`"),
    ],
)
def test_without_tenants_no_other_is_answered_and_told_what_to_do(
    headers: dict[bytes, bytes], peer: str | None, why: str
) -> None:
    with pytest.raises(InvalidKey, match=rf"{why}.*tenants\.yaml"):
        Keys("").tenant(policy(), headers, peer)


def test_with_tenants_a_key_is_enough_wherever_it_comes_from() -> None:
    headers = {b"x-api-key": KEY.encode(), b"host": b"evil.example", b"origin": b"https://evil.example"}
    assert Keys(PEPPER).tenant(KEYED, {**headers, b"x-forwarded-for": b"10.0.0.4"}, "10.0.0.4") is TENANT


# What is remembered of admitted keys.


def sent(key: str) -> dict[bytes, bytes]:
    return {b"x-api-key": key.encode()}


def test_a_key_that_left_the_policy_is_refused_at_once_and_a_moved_one_leads_to_its_new_tenant() -> None:
    keys, other = Keys(PEPPER), Tenant("other")
    assert keys.tenant(KEYED, sent(KEY), None) is TENANT
    moved = replace(KEYED, tenants={"other": other}, keys={hash_key(PEPPER, KEY): other})
    assert keys.tenant(moved, sent(KEY), None) is other
    rotated = replace(KEYED, keys={hash_key(PEPPER, "new"): TENANT})
    with pytest.raises(InvalidKey):
        keys.tenant(rotated, sent(KEY), None)
    assert keys.tenant(rotated, sent("new"), None) is TENANT


def test_of_two_policies_in_turn_each_has_its_own_answer() -> None:
    """While the folder is replaced, a request whose body is still coming asks under both."""
    keys, without = Keys(PEPPER), replace(KEYED, keys={hash_key(PEPPER, "new"): TENANT})
    for _ in range(3):
        assert keys.tenant(KEYED, sent(KEY), None) is TENANT
        with pytest.raises(InvalidKey):
            keys.tenant(without, sent(KEY), None)


def test_a_tenant_that_changes_is_the_one_of_the_policy_in_force() -> None:
    keys, narrowed = Keys(PEPPER), Tenant("acme", models=("m",))
    assert keys.tenant(KEYED, sent(KEY), None) is TENANT
    moved = replace(KEYED, tenants={"acme": narrowed}, keys={hash_key(PEPPER, KEY): narrowed})
    assert keys.tenant(moved, sent(KEY), None) is narrowed


def test_a_demo_key_that_was_admitted_dies_with_the_simulated_folder() -> None:
    keys = Keys("")
    assert keys.tenant(DEMO, sent("demo"), None) is TENANT
    with pytest.raises(InvalidKey):
        keys.tenant(replace(DEMO, simulated=False), sent("demo"), None)


def test_a_key_past_its_end_is_refused_by_a_code_of_its_own_also_where_it_was_admitted_before() -> None:
    moment = [10.0]
    ending = replace(TENANT, expires=20.0)
    keys = Keys(PEPPER, now=lambda: moment[0])
    made = replace(KEYED, keys={hash_key(PEPPER, KEY): ending})
    assert keys.tenant(made, sent(KEY), None) is ending
    moment[0] = 20.0
    with pytest.raises(KeyExpired) as refused:
        keys.tenant(made, sent(KEY), None)
    assert (refused.value.status, refused.value.code) == (401, "key_expired")


def test_keys_made_at_run_time_and_those_of_the_folder_are_one_list() -> None:
    issued = {hash_key(PEPPER, "late"): Tenant("acme", key="late")}
    keys = Keys(PEPPER, lambda _, hashed: issued.get(hashed))
    assert keys.tenant(KEYED, sent(KEY), None) is TENANT
    assert keys.tenant(KEYED, sent("late"), None).key == "late"
    issued.clear()
    keys.forget()
    with pytest.raises(InvalidKey):
        keys.tenant(KEYED, sent("late"), None)


def test_a_folder_whose_tenants_have_no_key_yet_is_not_open() -> None:
    with pytest.raises(InvalidKey):
        Keys(PEPPER).tenant(replace(KEYED, keys={}), {}, "127.0.0.1")


def test_a_new_key_is_256_random_bits_that_no_token_looks_like() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"gw-[0-9A-Za-z]{43}", key) for key in made)


def test_nothing_is_remembered_of_strangers_and_no_key_as_it_was_sent() -> None:
    keys = Keys(PEPPER)
    for number in range(100):
        with pytest.raises(InvalidKey):
            keys.tenant(KEYED, sent(f"stranger-{number}"), None)
    assert not keys._admitted
    keys.tenant(KEYED, sent(KEY), None)
    assert len(keys._admitted) == 1
    assert KEY not in repr(vars(keys)["_admitted"])
