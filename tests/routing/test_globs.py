"""Globs: `*` and `?` alone are special."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.globs import fits


@pytest.mark.parametrize(
    ("name", "glob", "expected"),
    [
        ("llama-8b", "llama-*", True),
        ("llama-8b", "llama-?b", True),
        ("llama-8b", "llama-?", False),
        ("llama-8b", "LLAMA-*", False),
        ("", "*", True),
        ("", "?", False),
        ("a\nb", "a*b", True),
        ("[a]", "[a]", True),
        ("a", "[a]", False),
        ("a", "[!b]", False),
        ("[!b]", "[!b]", True),
        ("[", "[", True),
        ("[[]", "[[]", True),
        ("x[1]y", "x[*]?", True),
        ("a.b", "a?b", True),
        ("axb", "a.b", False),
        ("a+", "a+", True),
        ("\\", "\\", True),
    ],
)
def test_a_glob(name: str, glob: str, expected: bool) -> None:
    assert fits(name, (glob,)) is expected


def test_no_glob_stands_for_all_and_one_of_several_is_enough() -> None:
    assert fits("a", ())
    assert fits("a", ("b", "a"))
    assert not fits("a", ("b", "c"))


def naively(name: str, glob: str) -> bool:
    if not glob:
        return not name
    if glob[0] == "*":
        return any(naively(name[skipped:], glob[1:]) for skipped in range(len(name) + 1))
    return bool(name) and glob[0] in ("?", name[0]) and naively(name[1:], glob[1:])


@given(st.text("ab[]!-^*?", max_size=6), st.text("ab[]!-^*?", max_size=6))
def test_as_read_naively(name: str, glob: str) -> None:
    assert fits(name, (glob,)) is naively(name, glob)
