"""Where things are written."""

from __future__ import annotations

from gateway.policy.source import dotted, parse, printable

TEXT = """\
zones:
  eu: {within: [world]}
backends:
  - name: h100   # a comment
    "kind": 'local'
"""


def test_places_of_keys_and_values() -> None:
    document = parse("b.yaml", TEXT.encode())
    assert document.data == {"zones": {"eu": {"within": ["world"]}}, "backends": [{"name": "h100", "kind": "local"}]}
    assert document.at(("zones", "eu"), key=True) == (2, 3)
    assert document.at(("zones", "eu")) == (2, 7)
    assert document.at(("zones", "eu", "within", 0)) == (2, 17)
    assert document.at(("backends", 0)) == (4, 5)
    assert document.at(("backends", 0, "kind"), key=True) == (5, 5)
    assert document.at(("backends", 0, "kind")) == (5, 13)


def test_a_place_that_is_not_there_is_that_of_what_lacks_it() -> None:
    document = parse("b.yaml", TEXT.encode())
    assert document.at(("backends", 0, "zone"), key=True) == (4, 5)
    assert document.at(("models", 3, "x")) == (1, 1)


def test_columns_count_characters_not_bytes() -> None:
    document = parse("b.yaml", "{ä: ö, key: 1}".encode())
    assert document.at(("key",), key=True) == (1, 8)


def test_all_duplicates_are_told_and_the_first_value_stays() -> None:
    document = parse("b.yaml", b"a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert [str(fault) for fault in document.faults] == [
        "b.yaml:2:11: b.c: is written twice; the first is in line 2",
        "b.yaml:3:1: a: is written twice; the first is in line 1",
    ]


def test_an_alias_bomb_costs_nothing() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert len(parse("b.yaml", bomb.encode()).faults) == 1


def test_text_for_people() -> None:
    assert dotted(("backends", 0, "upstreams", 12, "url")) == "backends[0].upstreams[12].url"
    assert dotted(()) == "(file)"
    assert dotted(("a b", "", "c: d", "\x85")) == '"a b".""."c: d".\\x85'
    assert printable("a\x07b\u2028" + "c" * 100) == "a\\x07b\\u2028" + "c" * 48 + "..."
