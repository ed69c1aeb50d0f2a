"""Slips of YAML that people make, and what they are told to write."""

from __future__ import annotations

import pytest

from gateway.policy.source import parse

ROWS = [
    ("a: > 8\n", "1:6", 'put the comparison in quotes: "> 8"'),
    ("a:\n  w: {q: >= 0.95}\n", "2:10", 'put the comparison in quotes: ">= 0.95"'),
    ("a: @x\n", "1:4", "put the value in quotes: it begins with `@`"),
    ("a: {b: 1\nc: 2\n", "2:2", "the { of line 1 is not closed"),
    ("a: 1\nb: [b, c\nd: 2\n", "3:2", "the [ of line 2 is not closed"),
    ("a: {b: 1, c: [2, 3}\n", "1:19", "the [ of line 1 is not closed"),
    ("a: {b: 1\n", "2:1", "the { of line 1 is not closed"),
    ("a: ['b' 'c']\n", "1:9", "a comma is missing before this, or the [ of line 1 is not closed"),
    ("a: {key: ${env:X}}\n", "1:11", "put ${...} in quotes where it stands within { } or [ ]"),
    ("rules:\n  - name: x\n     match: {}\n", "3:11", "line 3 is indented by 5, its neighbours by 4"),
    ("rules:\n  - name: x\n   match: {}\n", "3:4", "line 3 is indented by 3, its neighbours by 4"),
    ("a:\n  - b: 1\n - c: 1\n", "3:2", "line 3 is indented by 1, its neighbours by 2"),
    ("a:\n    b: 1\n\n    # c\n   d: 2\n", "5:4", "line 5 is indented by 3, its neighbours by 4"),
    ('a: "x\nb: 1\n', "3:1", "the quote that begins in line 1 is not closed"),
    ("a: b: c\n", "1:5", "put the value in quotes: it holds a colon"),
    ("a:b\nc: 1\n", "2:2", "write a blank behind the colon of line 1"),
]


@pytest.mark.parametrize(("text", "place", "hint"), ROWS, ids=[row[2][:40] for row in ROWS])
def test_a_slip(text: str, place: str, hint: str) -> None:
    (fault,) = parse("f.yaml", text.encode()).faults
    assert str(fault).startswith(f"f.yaml:{place}: (file): {hint} (not valid YAML: ")


def test_without_advice_the_parser_speaks_alone() -> None:
    (fault,) = parse("f.yaml", b"a: 1\n- b\n").faults
    assert fault.text.startswith("is not valid YAML: ")
