from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.edge.body import residency
from gateway.edge.picture_form import TEXTS, parse
from gateway.errors import InvalidRequest
from gateway.upstreams.dialects.forms import File, form
from gateway.upstreams.dialects.media_endpoints import parts
from gateway.upstreams.dialects.ordering import Picture

NAMES = st.sampled_from(["prompt", "n", "seed", "user", "odd name", 'quo"te', "ümlaut"])
NUMBERS = st.integers(-(10**9), 10**9).map(str) | st.sampled_from(["7.50", "-0.5", "true", "false"])
TEXT = st.text(max_size=40) | NUMBERS


@given(st.dictionaries(NAMES, TEXT), st.lists(st.tuples(NAMES, st.binary(max_size=300))))
def test_what_is_written_is_read(fields: dict[str, str], files: list[tuple[str, bytes]]) -> None:
    kind, body = form(fields, [File(name, "../../x.png", "image/png", data) for name, data in files])
    read = parse(kind, body)
    assert [(file.name, file.data) for file in read.files] == [(name.replace('"', "%22"), data) for name, data in files]
    assert set(read.fields) == {name.replace('"', "%22") for name in fields}
    assert "x.png" not in repr(read)


@given(st.dictionaries(st.sampled_from(["n", "seed", "prompt", "user", "x", "tags[]"]), TEXT))
def test_a_form_goes_up_with_the_texts_that_it_came_with(fields: dict[str, str]) -> None:
    """Also where a text looks like a number: 7.50 is not made 7.5."""
    read = parse(*form(fields))
    texts, _ = parts(read.fields, (), "served", ())
    assert texts == [("model", "served"), *fields.items()]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n", "2", 2),
        ("stream", "true", True),
        ("x", "7.5", 7.5),
        ("x", "007", "007"),
        ("x", "1e400", "1e400"),
        ("x", "null", "null"),
        ("x", "NaN", "NaN"),
        ("x", "1" * 40, "1" * 40),
        ("x", " 1", " 1"),
        ("metadata", '{"a":"b"}', {"a": "b"}),
        ("metadata", "[1]", "[1]"),
        *[(name, "123", "123") for name in sorted(TEXTS)],
    ],
)
def test_texts_become_json(name: str, text: str, value: object) -> None:
    assert msgspec.json.decode(parse(*form({name: text})).fields[name]) == value


def test_lists_come_and_go() -> None:
    read = parse(*form([("tags[]", "a"), ("tags[]", "1")]))
    assert msgspec.json.decode(read.fields["tags[]"]) == ["a", 1]
    texts, files = parts(
        {**read.fields, "nothing": Raw(b"null"), "url": Raw(b'"http://x"'), "store": Raw(b"true")},
        [Picture(data=b"1", media_type="image/png"), Picture(data=b"2", media_type="image/png", role="mask")],
        "served",
        ("store",),
    )
    assert texts == [("model", "served"), ("tags[]", "a"), ("tags[]", "1")]
    assert [(file.name, file.file_name) for file in files] == [("image", "image-0.png"), ("mask", "mask.png")]


@given(
    st.binary(max_size=400), st.sampled_from([b"multipart/form-data; boundary=b", b'multipart/form-data; boundary="'])
)
def test_garbage_is_refused(body: bytes, kind: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(kind, body)


@given(st.data())
def test_a_form_that_is_cut_off_is_refused(data: st.DataObject) -> None:
    kind, body = form({"prompt": "x"}, [File("image", "a", "image/png", b"\r\n--" * 20)])
    with pytest.raises(InvalidRequest):
        parse(kind, body[: data.draw(st.integers(0, len(body) - 5))])


@pytest.mark.parametrize(
    "given",
    [
        [("metadata", '{"data_residency":"local"}'), ("metadata[data_residency]", "eu")],
        [("metadata", '{"data_residency":"local"')],
        [("metadata", " {local}")],
        [("metadata", "{}"), ("metadata", "{}")],
        [("metadata[data_residency]", "eu"), ("metadata[data_residency]", "us")],
    ],
)
def test_a_demand_that_could_be_read_two_ways_is_refused(given: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(*form(given))
    assert refused.value.param is not None
    assert refused.value.param.startswith("metadata")


def test_a_demand_is_found() -> None:
    assert residency(parse(*form([("metadata[data_residency]", "eu")])).fields) == "eu"
    assert residency(parse(*form([("metadata", '{"data_residency":"eu","a":"b"}')])).fields) == "eu"
