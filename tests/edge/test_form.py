"""Forms taken apart: whatever the pieces they come in, and nothing that could be read two ways."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.form import MAX_FIELD_BYTES, MAX_FIELDS, Field, FileHead, FormReader, FormWriter
from gateway.errors import InvalidRequest, UnsupportedMedia

TYPE = b"multipart/form-data; boundary=XX"


def part(disposition: str, body: bytes = b"v", *more: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"Content-Disposition: {disposition}", *more))
    return b"--XX\r\n" + lines.encode() + b"\r\n" + body + b"\r\n"


FILE = 'form-data; name="file"; filename="a.wav"'
END = b"--XX--\r\n"


def read(raw: bytes, cuts: list[int] | None = None) -> tuple[FormReader, bytes]:
    form, file = FormReader(TYPE), b""
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts or ())})
    for start, end in pairwise(edges):
        form.feed(raw[start:end])
        file += form.take()
    form.close()
    return form, file


@given(
    st.binary(max_size=200).filter(lambda file: b"\r\n--XX" not in file),
    st.lists(st.integers(0, 1000), max_size=20),
)
def test_a_form_is_the_same_in_whatever_pieces_it_comes(file: bytes, cuts: list[int]) -> None:
    raw = part('form-data; name="model"', b"m") + part(FILE, file, "Content-Type: audio/wav")
    form, taken = read(raw + part('form-data; name="language"', b"de") + END, cuts)
    assert form.fields == [Field("model", "m"), Field("language", "de")]
    assert form.file == FileHead("a.wav", b"audio/wav")
    assert taken == file


@given(st.binary(max_size=100), st.text("abcäö\"\\';=", min_size=1, max_size=20), st.text(max_size=50))
def test_what_is_written_is_read_again(file: bytes, name: str, value: str) -> None:
    writer = FormWriter()
    raw = (
        writer.fields([Field("model", value)])
        + writer.file(FileHead(name, b"audio/mpeg"))
        + file
        + b"\r\n"
        + writer.end()
    )
    form = FormReader(writer.content_type)
    form.feed(raw)
    form.close()
    assert form.fields == [Field("model", value)]
    assert form.take() == file
    assert form.file is not None
    assert form.file.filename == name.replace('"', "%22").replace("\\", "%5C")


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (part(FILE), None),  # no end
        (part(FILE)[:-2] + END, None),
        (part("form-data"), None),
        (part('attachment; name="file"'), None),
        (part('form-data; name=""'), None),
        (part('form-data; name="a"; name="b"'), None),
        (part('form-data; name="a" x'), None),
        (part('form-data; name="a\x01"'), None),
        (b"--XX\r\n\r\nv\r\n" + END, None),
        (b"--XX\r\nContent-Disposition form-data\r\n\r\nv\r\n" + END, None),
        (part('form-data; name="a"', b"v", 'Content-Disposition: form-data; name="b"'), None),
        (b"hello" + part(FILE) + END, None),
        (part(FILE, b"v", "Content-Transfer-Encoding: base64") + END, "file"),
        (part(FILE, b"v", "Content-Type: audio") + END, "file"),
        (part(FILE, b"v", "Content-Type: audio/wav; \x07") + END, "file"),
        (part(FILE) + part(FILE) + END, "file"),
        (part('form-data; name="picture"; filename="a.png"') + END, "picture"),
        (part('form-data; name="model"', b"\xff") + END, "model"),
        (part('form-data; name="prompt"', b"x" * (MAX_FIELD_BYTES + 1)) + END, "prompt"),
        (part('form-data; name="a"') * (MAX_FIELDS + 1) + END, None),
        (b"--XX\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(9)) + b"\r\nv\r\n" + END, None),
        (b"--XX\r\nx-a: " + b"y" * 10_000 + b"\r\n\r\nv\r\n" + END, None),
    ],
)
def test_what_is_no_form_is_refused_and_its_field_named(raw: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(raw)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "name",
    ["../etc/passwd", "/etc/passwd", "..", ".", "a/b.wav", "C:\\x.wav", "..\\\\x", "", "a\x00b", "x" * 256],
)
def test_a_file_name_with_a_place_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(part(f'form-data; name="file"; filename="{name}"') + END)
    assert refused.value.param == "file"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("form-data; name=file; filename=a.wav", "a.wav"),
        ('form-data; name="file"; filename="a.wav"; filename*=UTF-8\'\'%C3%A4.wav', "ä.wav"),
        ('form-data; name="file"; filename="grüße \\"1\\".wav"', 'grüße "1".wav'),
        ('form-data; name="file"', "file"),
    ],
)
def test_names_of_files(disposition: str, name: str) -> None:
    form, _ = read(part(disposition) + END)
    assert form.file is not None
    assert form.file.filename == name


@pytest.mark.parametrize("name", ["%2e%2e%2fx", "a%00b", "%ff"])
def test_an_encoded_name_is_looked_at_as_it_is_meant(name: str) -> None:
    with pytest.raises(InvalidRequest):
        read(part(f"form-data; name=\"file\"; filename*=utf-8''{name}") + END)


@pytest.mark.parametrize(
    ("given_type", "error"),
    [
        (b"application/json", UnsupportedMedia),
        (b"", UnsupportedMedia),
        (b"multipart/form-data", InvalidRequest),
        (b"multipart/form-data; boundary=", InvalidRequest),
        (b'multipart/form-data; boundary=""', InvalidRequest),
        (b"multipart/form-data; boundary=" + b"x" * 71, InvalidRequest),
        (b'multipart/form-data; boundary="a\tb"', InvalidRequest),
        (b"multipart/form-data; boundary=a; boundary=b", InvalidRequest),
    ],
)
def test_a_form_says_its_boundary(given_type: bytes, error: type[InvalidRequest]) -> None:
    with pytest.raises(error):
        FormReader(given_type)


def test_no_repr_shows_what_a_field_holds() -> None:
    assert "secret" not in repr(Field("prompt", "secret"))
