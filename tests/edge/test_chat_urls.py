"""Addresses in a conversation that a worker of ours may read: found wherever engines look, and gone to by us alone."""

from __future__ import annotations

import base64
import time
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from gateway.edge.body import decode
from gateway.edge.chat_urls import FIELDS, MOST, Guard, Words
from gateway.edge.fetching import Fetches, Fetching
from gateway.edge.gathering import Gathering
from gateway.errors import InvalidRequest
from gateway.upstreams.dialects.endpoint import ADDRESSED, Endpoint
from gateway.upstreams.dialects.surface import ENDPOINTS
from tests.studio import picture
from tests.upstreams.http1.rawserver import OK, RawServer, always

INSIDE = Gathering(1_000_000, 100_000, allow_private=True)
OUTSIDE = Gathering(1_000_000, 100_000)
DATA = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
TEXT = {"type": "text", "text": "what is at http://10.0.0.1/?"}
URL = "http://10.0.0.1/latest"


def chat(*parts: Any, field: str = "messages") -> dict[str, Raw]:
    said = [{"role": "user", "content": [TEXT, *parts]}]
    return {field: Raw(msgspec.json.encode(said)), "model": Raw(b'"m"')}


def guard(words: Words = "fetch", gathering: Gathering = INSIDE) -> Guard:
    return Guard(words, gathering, Fetching(Fetches(8, 8, 1 << 20)).known("acme", None))


def parts_of(fields: Any, field: str = "messages") -> list[Any]:
    return list(msgspec.json.decode(fields[field])[0]["content"][1:])


PLACES: list[Any] = [
    lambda url: {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    lambda url: {"type": "image_url", "image_url": url},
    lambda url: {"image_url": {"url": url}},
    lambda url: {"type": "video_url", "video_url": {"url": url}},
    lambda url: {"type": "audio_url", "audio_url": {"url": url}},
    lambda url: {"type": "input_image", "image_url": url},
    lambda url: {"type": "input_file", "file_url": url},
    lambda url: {"type": "image", "image": url},
    lambda url: {"type": "image", "source": {"type": "url", "url": url}},
    lambda url: {"type": "document", "source": {"type": "url", "url": url}},
    lambda url: {"type": "tool_use", "image_url": url},
    lambda url: {"type": ["image_url"], "image_url": url},
    lambda url: {"text": "seen", "video": url},
    lambda url: {"text": "heard", "audio": url},
    lambda url: {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": url}}]},
]
TEXTS = [one for one in ENDPOINTS.values() if one.asks is None and not set(FIELDS).isdisjoint(one.prompt)]
NOWHERE = (
    *(URL, "http://169.254.169.254/latest/meta-data", "https://[fd00::1]/", "http://0x7f000001/", "http://127.1/"),
    *("HTTP://LOCALHOST/", "http://[::ffff:10.0.0.1]/", "https://user@example.com/", "http://127.0.0.1:6379/"),
    *("file:///etc/passwd", "/etc/passwd", "ftp://example.com/a", "gopher://10.0.0.1/", "a.png", ""),
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("words", ["fetch", "check", "refuse"])
async def test_no_worker_sees_an_address_of_the_inside(place: Any, words: Words) -> None:
    for field in ("messages", "input"):
        with pytest.raises(InvalidRequest) as refused:
            await guard(words, OUTSIDE).guarded(chat(place(URL), field=field), stays=False)
        assert refused.value.param == field
        assert "10.0.0.1" not in refused.value.message


@pytest.mark.parametrize("endpoint", TEXTS, ids=[one.name for one in TEXTS])
@pytest.mark.parametrize("key", ADDRESSED)
def test_a_body_with_an_address_is_never_taken_for_mere_text(key: str, endpoint: Endpoint) -> None:
    """What is taken for that is not looked through at all."""
    said = dict.fromkeys(endpoint.needs, "x") | {"max_tokens": 1, "model": "m"}
    for shown in (key, f"\\u{ord(key[0]):04x}{key[1:]}"):
        inside = b'[{"role":"user","content":[{"%b":"%b"}]}]' % (shown.encode(), URL.encode())
        for field in FIELDS:
            assert not decode(msgspec.json.encode(said | {field: Raw(inside)}), endpoint).text_only


@pytest.mark.parametrize("url", NOWHERE)
@pytest.mark.parametrize("words", ["fetch", "check"])
async def test_what_nobody_goes_to(url: str, words: Words) -> None:
    with pytest.raises(InvalidRequest):
        await guard(words, OUTSIDE).guarded(chat(PLACES[0](url)), stays=False)


async def test_a_picture_goes_up_instead_of_its_address() -> None:
    data = picture("JPEG")
    answer = OK + b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(data) + data
    async with RawServer(always(answer)) as server:
        url = f"http://127.0.0.1:{server.port}/a.jpg"
        given = chat(PLACES[0](url), {"type": "image", "source": {"type": "url", "url": url}}, PLACES[0](DATA))
        made = await guard().guarded(given, stays=False)
    text = base64.b64encode(data).decode()
    assert parts_of(made) == [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{text}", "detail": "low"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": text}},
        PLACES[0](DATA),
    ]
    assert made["model"] == given["model"]


@pytest.mark.parametrize(
    ("key", "kind", "taken"),
    [
        ("video_url", b"video/mp4", True),
        ("audio_url", b"audio/wav; a=b", True),
        ("video_url", b"text/html", False),
        ("audio_url", b"video/mp4", False),
        ("file_url", b"application/pdf", False),
    ],
)
async def test_sound_and_films_by_what_their_server_says(key: str, kind: bytes, taken: bool) -> None:
    async with RawServer(always(OK + b"Content-Type: %b\r\nContent-Length: 2\r\n\r\nhi" % kind)) as server:
        asked = guard().guarded(chat({key: {"url": f"http://127.0.0.1:{server.port}/"}}), stays=False)
        if not taken:
            with pytest.raises(InvalidRequest):
                await asked
            return
        said = kind.partition(b";")[0].decode()
        assert parts_of(await asked) == [{key: {"url": f"data:{said};base64,aGk="}}]


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 2\r\n\r\nhi",
        OK + b"Content-Length: 100001\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["no picture", "too large", "redirect"],
)
async def test_what_is_not_had(answer: bytes) -> None:
    async with RawServer(always(answer)) as server:
        with pytest.raises(InvalidRequest):
            await guard().guarded(chat(PLACES[0](f"http://127.0.0.1:{server.port}/")), stays=False)


async def test_two_addresses_in_one_object_both_become_data() -> None:
    data = picture()
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(data) + data
    async with RawServer(always(answer)) as server:
        url = f"http://127.0.0.1:{server.port}/"
        made = await guard().guarded(chat({"type": "url", "url": url, "image_url": url}), stays=False)
    text = base64.b64encode(data).decode()
    assert parts_of(made) == [
        {"type": "base64", "media_type": "image/png", "data": text, "image_url": f"data:image/png;base64,{text}"}
    ]


async def test_deep_and_wide_conversations_are_looked_through_in_good_time() -> None:
    """Each address that is found costs as many steps as it is deep: no more are looked for than are too many."""
    deep = b'{"content":[' * 400 + b",".join([b'{"image_url":"data:,"}'] * 20_000) + b"]}" * 400
    began = time.process_time()
    assert await guard("refuse").guarded({"messages": Raw(deep)}, stays=True) == {"messages": Raw(deep)}
    assert time.process_time() - began < 1.0


async def test_all_of_a_request_together_are_bounded() -> None:
    data = picture()
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(data) + data
    async with RawServer(always(answer)) as server:
        url = f"http://127.0.0.1:{server.port}/"
        tight = Gathering(1_000_000, len(data) * 2 - 1, allow_private=True)
        with pytest.raises(InvalidRequest):
            await guard("fetch", tight).guarded(chat(PLACES[0](url), PLACES[0](url)), stays=False)
        with pytest.raises(InvalidRequest):
            await guard().guarded(chat(*[PLACES[0](url)] * (MOST + 1)), stays=False)


async def test_under_a_demand_nobody_is_asked() -> None:
    async with RawServer(always(OK + b"Content-Length: 0\r\n\r\n")) as server:
        given = chat(PLACES[0](f"http://127.0.0.1:{server.port}/"))
        for words in ("fetch", "check"):
            with pytest.raises(InvalidRequest, match="residency"):
                await guard(words).guarded(given, stays=True)
        assert server.accepted == 0
    assert await guard().guarded(chat(PLACES[0](DATA)), stays=True)


async def test_check_passes_the_address_on() -> None:
    given = chat(PLACES[0]("http://127.0.0.1:1/a.png"))
    assert await guard("check").guarded(given, stays=False) == given


@pytest.mark.parametrize(
    "said",
    [
        b'"plain text"',
        b'[{"role":"user","content":"see http://10.0.0.1/"}]',
        b'[{"role":"assistant","content":[{"type":"tool_use","input":{"image_url":"http://10.0.0.1/"}}]}]',
        b'[{"content":[{"type":"input_audio","input_audio":{"data":"aGk=","format":"wav"}}],"audio":{"id":"a"}}]',
        b'[{"role":"user","content":null,"image_url":null}]',
        b"[1,2,[3]]",
        b"null",
    ],
)
async def test_what_is_no_address_stays_as_it_is(said: bytes) -> None:
    for field in ("messages", "input"):
        assert await guard("refuse", OUTSIDE).guarded({field: Raw(said)}, stays=True) == {field: Raw(said)}


async def test_nesting_that_is_too_deep_is_the_callers() -> None:
    with pytest.raises(InvalidRequest):
        await guard().guarded({"messages": Raw(b'[{"a":' * 900 + b"1" + b"}]" * 900)}, stays=False)
