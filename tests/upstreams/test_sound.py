"""The length of a sound from its first bytes and its size."""

from __future__ import annotations

import io
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.dialects.sound import ASSUMED_BITS_PER_SECOND, HEAD_BYTES, length_of


def wav(seconds: float, rate: int = 16_000) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\0\0" * round(seconds * rate))
    return made.getvalue()


@pytest.mark.parametrize("seconds", [0.0, 0.5, 12.0])
def test_a_wav_tells_its_length(seconds: float) -> None:
    raw = wav(seconds)
    assert length_of(raw[:HEAD_BYTES], len(raw)) == (seconds, True)


def test_a_wav_that_was_written_to_a_pipe_is_as_long_as_its_file() -> None:
    raw = wav(2.0)
    for unknown in (0, 0xFFFFFFFF):
        piped = raw[:40] + struct.pack("<I", unknown) + raw[44:]
        assert length_of(piped[:HEAD_BYTES], len(piped)).seconds == 2.0


def test_a_header_cannot_claim_more_than_the_file_holds() -> None:
    raw = wav(2.0)
    lying = raw[:40] + struct.pack("<I", 1 << 30) + raw[44:]
    assert length_of(lying[:HEAD_BYTES], len(lying)).seconds == 2.0


def test_other_chunks_may_come_before_the_samples() -> None:
    raw = wav(1.0)
    listed = raw[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + raw[36:]
    assert length_of(listed[:HEAD_BYTES], len(listed)) == (1.0, True)


def test_what_is_not_read_is_guessed() -> None:
    assert length_of(b"ID3", ASSUMED_BITS_PER_SECOND // 8 * 10) == (10.0, False)


@given(st.binary(max_size=100), st.integers(0, 1 << 32))
def test_any_bytes_have_a_length(head: bytes, size: int) -> None:
    for begun in (head, b"RIFF\0\0\0\0WAVE" + head):
        assert 0 <= length_of(begun, size).seconds <= size
