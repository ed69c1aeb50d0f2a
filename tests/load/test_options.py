"""What the command lines of the load tools share."""

from __future__ import annotations

import argparse

import pytest

from loadtests.options import names


def test_names() -> None:
    assert names(("a", "b", "c"))("c,a") == ["c", "a"]
    with pytest.raises(argparse.ArgumentTypeError, match=r"^unknown: x; there are a, b$"):
        names(("a", "b"))("a,x")
