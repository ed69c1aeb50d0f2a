"""Whatever is done to a good folder, it compiles or every fault has its place; nothing else is ever raised."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.policy.source import parse

from .good import ENV, GOOD, SECRET, faults_of
from .test_faults import LINE

DATA = {file: yaml.safe_load(text) for file, text in GOOD.items()}
Path = tuple[str | int, ...]


def paths(data: Any, path: Path = ()) -> Iterator[Path]:
    """Every place below the root."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from paths(value, (*path, key))


PLACES = [(file, path) for file, data in DATA.items() for path in paths(data)]
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            "*",
            "[",
            "local",
            "demo",
            "> 1",
            "${env:X}",
            "${file:/}",
            "${file:\0}",
            "http://[",
            "http://@:0",
            "::1/64",
        ]
    ),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), TEXTS, st.just([]), st.just({}), st.dates()
)


def edit(file: str, path: Path, value: Any, drop: bool) -> dict[str, str]:
    """GOOD with one place replaced by `value`, or taken out."""
    data = copy.deepcopy(DATA[file])
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    if drop:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return {**GOOD, file: yaml.safe_dump(data, allow_unicode=True)}


def renamed(file: str, path: Path, name: str) -> dict[str, str]:
    """GOOD with one key spelt otherwise."""
    data = copy.deepcopy(DATA[file])
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[name] = inner.pop(path[-1])
    return {**GOOD, file: yaml.safe_dump(data, allow_unicode=True)}


def check(files: dict[str, str | bytes]) -> None:
    for line in faults_of(files, ENV):
        assert LINE.fullmatch(line), line
        assert SECRET not in line


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), value=SCALARS, drop=st.booleans())
def test_one_place_changed_or_dropped(place: tuple[str, Path], value: Any, drop: bool) -> None:
    check({**edit(*place, value, drop)})


def test_every_place_dropped_and_every_place_null() -> None:
    for place in PLACES:
        check({**edit(*place, None, drop=True)})
        check({**edit(*place, None, drop=False)})


KEYS = [(file, path) for file, path in PLACES if isinstance(path[-1], str)]


@settings(max_examples=100, deadline=None)
@given(place=st.sampled_from(KEYS), name=TEXTS)
@example(place=("backends.yaml", ("zones",)), name=" ")
@example(place=("backends.yaml", ("zones",)), name="")
def test_one_key_renamed(place: tuple[str, Path], name: str) -> None:
    check({**renamed(*place, name)})


def test_every_key_misspelt_is_found() -> None:
    for file, path in KEYS:
        lines = faults_of(renamed(file, path, f"{path[-1]}X"))
        assert any(line.startswith(f"{file}:") for line in lines), (file, path)


@settings(max_examples=200, deadline=None)
@given(file=st.sampled_from(sorted(GOOD)), at=st.floats(0, 1), raw=st.binary(max_size=6))
@example(file="backends.yaml", at=0.0, raw=b"\xef\xbb\xbf")
@example(file="models.yaml", at=1.0, raw=b"<<: {}")
@example(file="models.yaml", at=1.0, raw=b"? []\n")
def test_bytes_put_in_anywhere(file: str, at: float, raw: bytes) -> None:
    text = GOOD[file].encode()
    cut = round(at * len(text))
    check({**GOOD, file: text[:cut] + raw + text[cut:]})


@pytest.mark.parametrize(
    "wrong", [SECRET, f"${{env:{SECRET}}}", f"http://u:{SECRET}@host/", f"http://host/?key={SECRET}", [SECRET]]
)
def test_a_secret_in_the_wrong_place_is_not_repeated(wrong: Any) -> None:
    """A key, a keyed hash or an address may hold one by mistake."""
    holders = [p for p in PLACES if p[1][-1] in ("key", "url", "dcgm") or p[1][-2:-1] == ("keys",)]
    assert len(holders) == 6
    for file, path in holders:
        lines = faults_of(edit(file, path, wrong, drop=False))
        assert lines
        assert not any(SECRET in line for line in lines)


@given(st.text(max_size=200))
@example("a: [1, {b: 2}]\nc: !x y\n")
def test_every_value_has_a_place(text: str) -> None:
    document = parse("x.yaml", text.encode("utf-8", "surrogatepass"))
    assert document.faults or all(path in document.values for path in paths(document.data))
    assert all(LINE.fullmatch(str(fault)) for fault in document.faults)
