"""The place of a character inside a YAML text, for every way to write one."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.source import parse

WRITTEN = [
    ("when: a + X", (1, 11)),
    ("when:   a + X  # comment", (1, 13)),
    ("when: a +\n  b\n   X", (3, 4)),
    ("when: a\n\n\n  b X", (4, 5)),
    ("when: 'a X'", (1, 10)),
    ("when: 'it''s ''X'''", (1, 16)),
    ("when: 'a\n  b X'", (2, 5)),
    ('when: "a X"', (1, 10)),
    ('when: "\\"a\\" X"', (1, 14)),
    ('when: "\\x41\\u00e9\\U0001F600\\tX"', (1, 30)),
    ('when: "a \\\n   X"', (2, 4)),
    ('when: "a\n\n  X"', (3, 3)),
    ('when: "a  \n  X"', (2, 3)),
    ("when: |\n  a &&\n  X", (3, 3)),
    ("when: |-\n\n  a\n\n\n    X\n", (6, 5)),
    ("when: |2\n    a\n  X\n", (3, 3)),
    ("when: |2\n      \n    a\n  X\n", (4, 3)),
    ("when: |2\n\n    X\n", (3, 5)),
    ("when: >\n  a\n  b X\n", (3, 5)),
    ("when: >-\n  a\n\n\n  X\n", (5, 3)),
    ("when: >-\n  a\n    b\n\n    c\n  X\n", (6, 3)),
    ("when: >+  # why\n  X\n", (2, 3)),
    ("when: é ü X", (1, 11)),
    ("\ufeffwhen: X", (1, 7)),
    ("when: |\r\n  a\r\n  X\r\n", (3, 3)),
    ("{when: [a, 'b X']}", (1, 15)),
]


@pytest.mark.parametrize(("text", "place"), WRITTEN, ids=[repr(text) for text, _ in WRITTEN])
def test_the_place_of_the_x(text: str, place: tuple[int, int]) -> None:
    document = parse("x.yaml", text.encode())
    value = document.data["when"]
    path = ("when", 1) if isinstance(value, list) else ("when",)
    value = value[1] if isinstance(value, list) else value
    assert document.fault_within(path, value, value.index("X"), "").place == place


@pytest.mark.parametrize("text", ["when: |+\n  \n", "when: |2\n     \n", "when: >+\n\n\n"])
def test_a_block_of_blanks_has_places_too(text: str) -> None:
    document = parse("x.yaml", text.encode())
    for offset in range(len(document.data["when"]) + 1):
        assert document.fault_within(("when",), document.data["when"], offset, "").place >= (1, 1)


words = st.lists(
    st.sampled_from(["a", "bb", "c > 1", "'x'", '"y"', "\\", "é", "#", "&&", " ", "  ", "\n", "\n\n"]), max_size=12
)


@given(words.map("".join), st.sampled_from([None, "'", '"', "|", ">"]), st.integers(8, 60), st.integers(0, 6))
def test_every_character_that_stands_in_the_file_is_found(value: str, style: str | None, width: int, deep: int) -> None:
    text = yaml.safe_dump({"k" * (deep + 1): {"when": value}}, default_style=style, width=width, allow_unicode=True)
    document = parse("x.yaml", text.encode())
    if document.faults or document.data is None:
        return  # a style that gives keys a tag
    path = ("k" * (deep + 1), "when")
    lines = text.split("\n")
    for offset, char in enumerate(value):
        line, column = document.fault_within(path, value, offset, "").place
        if char not in " \n'\"\\é":
            assert lines[line - 1][column - 1] == char, (text, offset)
    end = document.fault_within(path, value, len(value), "").place
    assert end[0] <= len(lines)


def test_a_value_that_is_not_there_is_placed_at_its_start() -> None:
    document = parse("x.yaml", b"when: short")
    assert document.fault_within(("when",), "quite another text", 17, "").place in {(1, 7), (1, 24)}
