"""Seals: what one key closed only that key opens, for the use it was closed for, and unchanged."""

from __future__ import annotations

from hashlib import shake_256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.candidate import Trial
from gateway.store.sealing import BadSeal
from gateway.versions.orders import MAX_CONTENT_BYTES, Order, Seal, TooLarge

SEAL = Seal(b"key")
ORDER = Order(7, "0123456789ab", Trial("ba9876543210", "share", 0.05), 1.5, "me")
FILES = {"routing.yaml": "rules: []  # ä".encode()}


def test_what_was_sealed_is_read() -> None:
    assert SEAL.read_order(SEAL.order(ORDER)) == ORDER
    assert SEAL.read_content(SEAL.content(FILES)) == FILES


def test_another_key_reads_nothing() -> None:
    other = Seal(b"another")
    with pytest.raises(BadSeal):
        other.read_order(SEAL.order(ORDER))
    with pytest.raises(BadSeal):
        other.read_content(SEAL.content(FILES))


def test_a_seal_is_for_one_use() -> None:
    with pytest.raises(BadSeal):
        SEAL.read_content(SEAL.order(ORDER))


@given(st.data())
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    sealed = bytearray(SEAL.order(ORDER))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadSeal):
        SEAL.read_order(bytes(sealed))


@given(st.binary(max_size=200))
def test_garbage_is_no_order(garbage: bytes) -> None:
    with pytest.raises(BadSeal):
        SEAL.read_order(garbage)


def test_a_folder_that_is_too_large_is_not_shared() -> None:
    noise = shake_256(b"").digest(2 * MAX_CONTENT_BYTES)
    with pytest.raises(TooLarge):
        SEAL.content({"routing.yaml": noise})


def test_the_key_does_not_show() -> None:
    assert "key" not in repr(Seal(b"key"))
