from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.jobs.sealing import Vault
from gateway.store.sealing import BadSeal

VAULT = Vault(b"secret")


def test_an_id_is_known_to_its_tenant_alone() -> None:
    id = VAULT.ids.new("video_", "acme")
    assert len(id) == len("video_") + 48
    assert VAULT.ids.known(id, "acme")
    assert not VAULT.ids.known(id, "other")
    assert not Vault(b"another").ids.known(id, "acme")
    assert VAULT.ids.new("job_", "acme") != VAULT.ids.new("job_", "acme")


@given(st.integers(6, 53), st.sampled_from("0123456789abcdef"))
def test_a_changed_id_is_forged(at: int, digit: str) -> None:
    id = VAULT.ids.new("video_", "acme")
    changed = id[:at] + digit + id[at + 1 :]
    assert VAULT.ids.known(changed, "acme") == (changed == id)


@pytest.mark.parametrize("id", ["", "video_", "video_../../x", "job_" + "0" * 48, "video_" + "0" * 49])
def test_what_is_no_id_is_not_known(id: str) -> None:
    assert not VAULT.ids.known(id, "acme")


@given(st.binary(max_size=300))
def test_a_body_opens_for_its_own_job_alone(body: bytes) -> None:
    sealed = VAULT.close("id", "acme", body)
    assert VAULT.open("id", "acme", sealed) == body
    for id, tenant, what in (
        ("id2", "acme", sealed),
        ("id", "b", sealed),
        ("id", "acme", sealed[:-1]),
        ("id", "acme", b""),
    ):
        with pytest.raises(BadSeal):
            VAULT.open(id, tenant, what)


def test_nothing_of_a_body_is_seen() -> None:
    body = b"a red fox jumps over a wall"
    assert body not in VAULT.close("id", "acme", body)
    assert VAULT.close("id", "acme", body) != VAULT.close("id", "acme", body)
    assert "secret" not in repr(VAULT) + repr(VAULT.ids)


def test_digests_tell_parts_apart() -> None:
    assert VAULT.digest(b"a", b"bc") != VAULT.digest(b"ab", b"c")
    assert VAULT.digest(b"a") != Vault(b"other").digest(b"a")
