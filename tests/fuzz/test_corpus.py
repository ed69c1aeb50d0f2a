"""Replays what fuzzing has found: every input whole, in single bytes, and cut in two wherever it can be."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.fuzz.explore import CORPUS, SIDES, corpus

MAX_CORPUS_BYTES = 200_000
MAX_CUTS = 24
"""A longer input is cut in two at so many places only."""
MIN_FILES = 100


@pytest.mark.parametrize("name", SIDES)
def test_every_input_of_the_corpus(name: str) -> None:
    check: Callable[..., object] = SIDES[name].check
    for raw in (*SIDES[name].SEEDS, *corpus(name)):
        check(raw, range(len(raw)))
        if name != "body":
            places = range(1, len(raw))
            for at in places if len(places) <= MAX_CUTS else random.Random(raw).sample(places, MAX_CUTS):
                check(raw, [at])


def test_the_corpus_stays_small_and_holds_no_open_finding() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) > MIN_FILES
    assert sum(path.stat().st_size for path in files) < MAX_CORPUS_BYTES
    assert not [path.name for path in files if path.name.startswith("found-")]
