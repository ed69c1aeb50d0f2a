"""Pictures in JSON: texts, data URLs, and addresses that are fetched from real sockets."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from gateway.edge.body import Body
from gateway.edge.calls import Call
from gateway.edge.fetching import Fetches, Fetching
from gateway.edge.gathering import Gathering, texts_of
from gateway.edge.media import decode
from gateway.errors import InvalidRequest
from gateway.upstreams.dialects.media_endpoints import EDITS, IMAGES
from tests.studio import picture
from tests.upstreams.http1.rawserver import OK, RawServer, always

PLAIN = Gathering(1_000_000, 100_000)


def fetches() -> Gathering:
    return Gathering(1_000_000, 100_000, Fetching(Fetches(8, 8, 1 << 20)).known("acme", None), allow_private=True)


B64 = base64.b64encode(picture()).decode()
CALL = Call("id", 0.0, "/v1/images/edits", {b"content-type": b"application/json"}, None, None)


def body(**more: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "prompt": "a fox", **more})


@pytest.mark.parametrize(
    "value",
    [
        B64,
        f"data:image/png;base64,{B64}",
        f"DATA:text/plain;base64,{B64}",
        [B64],
        [[[B64]]],
        {"image_url": B64},
        {"type": "image_url", "image_url": {"url": B64, "detail": "high"}},
        [{"b64_json": B64}],
    ],
)
@pytest.mark.parametrize("name", ["image", "images", "image[]", "image_url", "input_image"])
async def test_a_picture_is_found_however_it_is_sent(value: object, name: str) -> None:
    got = await decode(CALL, body(**{name: value}), EDITS, PLAIN)
    assert [(one.data, one.media_type, one.role) for one in got.pictures] == [(picture(), "image/png", "image")]
    assert got.media is not None
    assert (got.media.inputs, got.media.mask, got.text_only) == (1, False, False)


async def test_a_mask_is_none_of_them() -> None:
    got = await decode(CALL, body(image=[B64, B64], mask={"image_url": B64}), EDITS, PLAIN)
    assert got.media is not None
    assert (got.media.inputs, got.media.mask) == (2, True)


async def test_under_a_demand_nobody_is_asked_for_a_picture() -> None:
    seen = []

    def stays(read: Body) -> bool:
        seen.append(read)
        return True

    async with RawServer(always(OK + b"Content-Length: 0\r\n\r\n")) as server:
        for name in ("image", "image_url"):
            given = body(metadata={"data_residency": "local"}, **{name: [B64, f"http://127.0.0.1:{server.port}/"]})
            with pytest.raises(InvalidRequest, match="residency") as refused:
                await decode(CALL, given, EDITS, fetches(), stays)
            assert refused.value.param == name
        assert server.accepted == 0
    assert [(one.residency, one.media and one.media.inputs) for one in seen] == [("local", 2)] * 2
    await decode(CALL, body(image=B64), EDITS, fetches(), stays)
    assert len(seen) == 2, "nothing to go to, nothing to ask"


async def test_what_is_fetched_goes_up_instead_of_its_address() -> None:
    data = picture("JPEG")
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(data) + data
    async with RawServer(always(answer)) as server:
        url = f"HTTP://127.0.0.1:{server.port}/a.jpg?secret"
        given = [{"image_url": {"url": url, "detail": "low"}}, B64]
        got = await decode(CALL, body(images=given), IMAGES, fetches())
    assert [one.media_type for one in got.pictures] == ["image/jpeg", "image/png"]
    swapped = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    assert msgspec.json.decode(got.fields["images"]) == [{"image_url": {"url": swapped, "detail": "low"}}, B64]


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 2\r\n\r\nhi",
        OK + b"Content-Length: 100001\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"nonsense",
    ],
)
async def test_what_is_no_picture_there_is_refused(answer: bytes) -> None:
    async with RawServer(always(answer)) as server:
        url = f"http://127.0.0.1:{server.port}/a.jpg?secret"
        with pytest.raises(InvalidRequest) as refused:
            await decode(CALL, body(image=url), EDITS, fetches())
    assert refused.value.param == "image"
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("value", [1, True, {}, {"a": 1}, {"file_id": "f"}, [[[[[["deep"]]]]]], [1], {"url": 5}])
def test_what_is_no_picture(value: object) -> None:
    with pytest.raises(InvalidRequest):
        list(texts_of(value, "image"))


def test_null_is_no_picture_either_but_no_fault() -> None:
    assert list(texts_of(None, "image")) == []
