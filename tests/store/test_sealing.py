"""What carries no good seal is not read."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.store.sealing import BadSeal, Sealing

SEALING = Sealing(b"the key", "GATEWAY_KEY_PEPPER")


@given(st.binary(), st.binary(max_size=8))
def test_what_was_sealed_is_read_by_who_holds_the_key_alone(body: bytes, use: bytes) -> None:
    sealed = SEALING.close(use, body)
    assert SEALING.open(use, sealed) == body
    with pytest.raises(BadSeal, match="not sealed with our GATEWAY_KEY_PEPPER"):
        Sealing(b"another key", "GATEWAY_KEY_PEPPER").open(use, sealed)
    with pytest.raises(BadSeal):
        SEALING.open(use + b"x", sealed)


@given(st.binary(), st.data())
def test_a_change_of_any_byte_is_seen(body: bytes, data: st.DataObject) -> None:
    sealed = bytearray(SEALING.close(b"use", body))
    at = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.integers(0, 255))
    assume(other != sealed[at])
    sealed[at] = other
    with pytest.raises(BadSeal):
        SEALING.open(b"use", bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"x", b"\xff" * 64, b"0" * 64])
def test_what_is_no_seal_at_all(sealed: bytes) -> None:
    with pytest.raises(BadSeal):
        SEALING.open(b"use", sealed)


def test_its_repr_says_nothing_of_the_key() -> None:
    assert "the key" not in repr(SEALING)
