"""Reading a body once, and decoding only what routing needs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.body import Body, ClientLeft, begins, decode, holds, read, receive_within
from gateway.edge.calls import Call
from gateway.edge.replies import Receive
from gateway.errors import InvalidRequest, RequestTooLarge, ResidencyUnknown, UnsupportedMedia
from gateway.routing.learn import BYTES_PER_TOKEN
from gateway.upstreams.dialects import openai
from gateway.upstreams.dialects.surface import ENDPOINTS, PATHS

JSON = {b"content-type": b"application/json"}
MARKER = "never-to-be-quoted"


def body(**more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": MARKER}], **more}).encode()


# decode


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "it ends too early (line 1, column 1)"),
        (b'{"a": 1', "it ends too early (line 1, column 8)"),
        (b'{"a": 1,\n  "b": never-to-be-quoted}', "invalid character (line 2, column 9)"),
        ('{"é": "äöü",\r\n "ß": "éé", b: 1}'.encode(), "object keys must be strings (line 2, column 13)"),
        (b'{"a": 1,}', "trailing comma in object (line 1, column 9)"),
        (b'{"model": "m"} never-to-be-quoted', "trailing characters (line 1, column 16)"),
    ],
)
def test_where_the_json_ends_is_told_and_nothing_of_it(raw: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(raw)
    assert str(refused.value) == f"the body is not valid JSON: {said}"


def test_the_fields_that_routing_needs() -> None:
    made = decode(body(stream=True, stream_options={"include_usage": True}, max_tokens=7, n=3, temperature=0.5))
    assert (made.model, made.stream, made.include_usage, made.max_tokens, made.choices) == ("m", True, True, 7, 3)
    assert made.known == ("n",)
    assert bytes(made.fields["temperature"]) == b"0.5"


def test_what_is_left_out_has_a_default() -> None:
    made = decode(b'{"model":"m"}')
    assert (made.stream, made.include_usage, made.max_tokens, made.choices) == (False, False, None, 1)
    assert (made.prompt_bytes, made.known) == (0, ())


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("{}", None),
        ("null", None),
        ("[]", None),
        ('"local"', None),
        ('{"data_residency": null}', None),
        ('{"user_id": "u", "data_residency": "eu, de"}', "eu, de"),
        ('{"data_residency": ""}', ""),
        ('{"data\\u005fresidency": "lo\\u0063al"}', "local"),
        ('{"x": {"data_residency": "eu"}}', None),
    ],
)
def test_the_demand_in_metadata(metadata: str, said: str | None) -> None:
    assert decode(f'{{"model": "m", "messages": [], "metadata": {metadata}}}'.encode()).residency == said


@pytest.mark.parametrize("said", [5, True, ["eu"], {"zone": "eu"}])
def test_a_demand_in_metadata_that_is_no_text_is_refused(said: Any) -> None:
    with pytest.raises(ResidencyUnknown) as refused:
        decode(body(metadata={"data_residency": said}))
    assert refused.value.param == "metadata.data_residency"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({"max_tokens": None}, None),
    ],
)
def test_the_newer_name_of_the_cap_wins(more: dict[str, Any], expected: int | None) -> None:
    assert decode(body(**more)).max_tokens == expected


@pytest.mark.parametrize(
    ("more", "choices"), [({"n": 2}, 2), ({"best_of": 4}, 4), ({"n": 2, "best_of": 4}, 4), ({"n": None}, 1)]
)
def test_choices_are_the_outputs_that_are_written(more: dict[str, Any], choices: int) -> None:
    assert decode(body(**more)).choices == choices


def test_a_repeated_key_counts_once_and_the_last_one_holds() -> None:
    made = decode(b'{"model":"first","stream":true,"model":"second","stream":false}')
    assert (made.model, made.stream) == ("second", False)


@pytest.mark.parametrize(
    ("more", "known"),
    [
        ({"service_tier": "flex", "store": True, "priority": 3}, {"service_tier", "store", "priority"}),
        ({"service_tier": "auto", "store": False, "priority": 0, "n": 1, "background": False}, set()),
        ({"store": None, "kv_transfer_params": {}, "cache_salt": "x"}, {"kv_transfer_params", "cache_salt"}),
    ],
)
def test_known_fields_are_named_where_they_change_something(more: dict[str, Any], known: set[str]) -> None:
    assert set(decode(body(**more)).known) == known


def test_prompt_bytes_are_what_the_model_reads() -> None:
    messages = [{"role": "user", "content": "x" * 1000}]
    short = decode(json.dumps({"model": "m", "messages": messages, "user": "y" * 1000}).encode())
    assert short.prompt_bytes == len(json.dumps(messages).encode())
    more = decode(json.dumps({"model": "m", "messages": messages, "tools": [{"name": "z" * 100}]}).encode())
    assert more.prompt_bytes > short.prompt_bytes + 100


REFUSED: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"{", None),
    (b"[]", None),
    (b'"text"', None),
    (b"null", None),
    (b"\xff\xfe", None),
    (b"\xef\xbb\xbf" + body(), None),
    (body() + b"{}", None),
    (b'{"model":"m","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", None),
    (b'{"model":"m","x":NaN}', None),
    (b'{"messages":[]}', "model"),
    (body(model=7), "model"),
    (body(model=None), "model"),
    (body(stream="yes"), "stream"),
    (body(stream=1), "stream"),
    (body(stream_options=[]), "stream_options"),
    (body(stream_options={"include_usage": "yes"}), "stream_options"),
    (body(max_tokens=0), "max_tokens"),
    (body(max_tokens="9"), "max_tokens"),
    (body(max_tokens=True), "max_tokens"),
    (body(max_tokens=1e3), "max_tokens"),
    (body(max_completion_tokens=-1), "max_completion_tokens"),
    (body(n=0), "n"),
    (body(n=129), "n"),
    (body(best_of=[]), "best_of"),
    (body(previous_response_id="resp_1"), "previous_response_id"),
    (body(conversation="conv_1"), "conversation"),
    (body(background=True), "background"),
]


@pytest.mark.parametrize(("raw", "param"), REFUSED, ids=[raw[:40].decode("latin-1") for raw, _ in REFUSED])
def test_refusals_name_the_field_and_quote_nothing(raw: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(raw)
    assert refused.value.param == param
    assert MARKER not in refused.value.message


@pytest.mark.parametrize("more", [{"previous_response_id": None}, {"conversation": None}, {"background": None}])
def test_null_state_is_no_state(more: dict[str, Any]) -> None:
    assert decode(body(**more)).model == "m"


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_a_body_or_a_contract_error(raw: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        assert decode(raw).model is not None


@given(st.binary(max_size=30).map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte not in b'"\\\\')))
def test_a_body_is_utf_8_also_where_nothing_of_it_is_read(inner: bytes) -> None:
    try:
        inner.decode()
    except UnicodeDecodeError as fault:
        with pytest.raises(InvalidRequest, match=rf"UTF-8 \(byte {18 + fault.start}\)"):
            decode(b'{"model":"m","x":"' + inner + b'"}')
    else:
        assert decode(b'{"model":"m","x":"' + inner + b'"}').model == "m"


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (b"\\ud83d\\ude00", True),
        ("\U0001f600".encode(), True),
        (b"\\ud800", False),
        (b"\\ude00\\ud83d", False),
        (b"\xed\xa0\x80", False),  # a surrogate as if it were a character
        (b"\xc0\xaf", False),  # a slash, longer than need be
    ],
)
@pytest.mark.parametrize("field", [b"model", b"x"])
def test_surrogates_come_in_pairs_and_escaped(text: bytes, fine: bool, field: bytes) -> None:
    raw = b'{"model":"m","' + field + b'":"' + text + b'"}'
    if fine:
        assert bytes(decode(raw).fields[field.decode()]) == b'"' + text + b'"'
    else:
        with pytest.raises(InvalidRequest):
            decode(raw)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["model", "stream", "stream_options", "max_tokens", "n", "best_of", "store", "messages"]), _json
    )
)
def test_any_value_in_a_known_field_is_taken_or_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidRequest):
        made = decode(json.dumps(fields).encode())
        assert made.max_tokens is None or made.max_tokens >= 1
        assert made.choices >= 1


# read


def call(headers: dict[bytes, bytes]) -> Call:
    return Call("id", 0.0, "/v1/chat/completions", headers, None, None)


def arriving(*pieces: bytes | None) -> tuple[Receive, list[bytes | None]]:
    """What an ASGI server hands over: pieces, the last one marked; None is a caller that leaves. And what is left."""
    left = list(pieces)

    async def receive() -> MutableMapping[str, Any]:
        if not left:
            await asyncio.Event().wait()
        piece = left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    return receive, left


async def test_a_body_in_pieces() -> None:
    receive, _ = arriving(b"ab", b"", b"cd")
    assert await read(call(JSON), receive, 10, 1.0) == b"abcd"


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=utf-8", b" application/json "])
async def test_content_types_that_mean_json(kind: bytes) -> None:
    receive, _ = arriving(b"{}")
    assert await read(call({b"content-type": kind}), receive, 10, 1.0) == b"{}"


@pytest.mark.parametrize(
    "headers", [{}, {b"content-type": b"text/plain"}, JSON | {b"content-encoding": b"gzip"}], ids=str
)
async def test_other_media_are_refused_before_a_byte_is_read(headers: dict[bytes, bytes]) -> None:
    receive, left = arriving(b"{}")
    with pytest.raises(UnsupportedMedia):
        await read(call(headers), receive, 10, 1.0)
    assert left == [b"{}"]


async def test_too_much_is_refused_as_soon_as_it_is_known() -> None:
    receive, left = arriving(b"12345")
    with pytest.raises(RequestTooLarge):
        await read(call(JSON | {b"content-length": b"11"}), receive, 10, 1.0)
    assert left == [b"12345"]
    receive, left = arriving(b"123456", b"123456", b"123456")
    with pytest.raises(RequestTooLarge):
        await read(call(JSON), receive, 10, 1.0)
    assert left == [b"123456"]
    receive, _ = arriving(b"12345678901")
    with pytest.raises(RequestTooLarge):
        await read(call(JSON), receive, 10, 1.0)
    receive, _ = arriving(b"1234567890")
    assert len(await read(call(JSON), receive, 10, 1.0)) == 10


@pytest.mark.parametrize("pieces", [(None,), (b"a", None)])
async def test_a_caller_that_leaves(pieces: tuple[bytes | None, ...]) -> None:
    receive, _ = arriving(*pieces)
    with pytest.raises(ClientLeft):
        await read(call(JSON), receive, 10, 1.0)


@pytest.mark.parametrize("first", [[], [b"a"]], ids=["nothing", "a part"])
async def test_a_caller_that_dawdles(first: list[bytes]) -> None:
    async def receive() -> MutableMapping[str, Any]:
        if not first:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": first.pop(), "more_body": True}

    with pytest.raises(InvalidRequest, match=r"did not arrive within 0\.01 s"):
        await read(call(JSON), receive, 10, 0.01)


async def test_the_first_part_and_the_rest_share_one_deadline() -> None:
    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0.08)
        return {"type": "http.request", "body": b"a", "more_body": True}

    started = time.monotonic()
    with pytest.raises(InvalidRequest, match="did not arrive"):
        await read(call(JSON), receive, 10, 0.1)
    assert time.monotonic() - started < 0.15


async def test_a_message_for_which_the_server_waits_several_times() -> None:
    loop = asyncio.get_running_loop()

    async def receive() -> MutableMapping[str, Any]:
        for _ in range(3):
            waiting: asyncio.Future[None] = loop.create_future()
            loop.call_soon(waiting.set_result, None)
            await waiting
            await asyncio.sleep(0)
        return {"type": "http.request"}

    assert await receive_within(receive, 1.0) == {"type": "http.request"}


async def test_a_reader_that_is_cancelled_ends_what_it_waited_for() -> None:
    ended = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return {}

    reader = asyncio.create_task(receive_within(receive, 10.0))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert ended.is_set()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_fault_of_the_server_is_not_hidden(at_once: bool) -> None:
    async def receive() -> MutableMapping[str, Any]:
        if not at_once:
            await asyncio.sleep(0)
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await receive_within(receive, 10.0)


@pytest.mark.parametrize(
    ("more", "prompts"),
    [
        ({"prompt": "a"}, 1),
        ({"prompt": ["a"]}, 1),
        ({"prompt": ["a", "b", "c"]}, 3),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"messages": []}, 1),
    ],
)
def test_each_prompt_is_an_answer_of_its_own(more: dict[str, Any], prompts: int) -> None:
    assert decode(json.dumps({"model": "m", **more}).encode()).prompts == prompts


@pytest.mark.parametrize("more", [{"prompt": ["a"] * 2049}, {"max_tokens": 2**31}, {"max_completion_tokens": 10**400}])
def test_numbers_beyond_reason_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        decode(json.dumps({"model": "m", **more}).encode())


def test_the_larger_cap_counts_and_pictures_are_told() -> None:
    assert decode(b'{"model":"m","max_tokens":100000,"max_completion_tokens":1}').max_tokens == 100000
    assert decode(b'{"model":"m","messages":[]}').text_only
    assert not decode(b'{"model":"m","messages":[{"content":[{"type":"image_url","image_url":{}}]}]}').text_only


@given(
    st.lists(st.sampled_from([b'"', b'\\"', b'"image"', b'"file', b'_url"', b'"image_url"', b"x" * 999]), max_size=30),
    st.sampled_from(sorted(ENDPOINTS)),
)
def test_where_media_stand_in_a_body_makes_no_difference(pieces: list[bytes], name: str) -> None:
    raw, words = b"".join(pieces), ENDPOINTS[name].media
    assert holds(raw, words) is (words.search(raw) is not None)


@pytest.mark.parametrize("place", [0, 4095, 4096, 50_000, 99_000])
@pytest.mark.parametrize("filler", [b"x", b'"'])
def test_a_picture_is_found_anywhere_in_a_large_body(place: int, filler: bytes) -> None:
    words = ENDPOINTS["chat/completions"].media
    raw = filler * 100_000
    assert not holds(raw, words)
    assert holds(raw[:place] + b'"image_url"' + raw[place:], words)


@pytest.mark.parametrize(
    "word", [b"image_url", b"image\\u005furl", b"\\u0069mage_url", b"im\\u0061ge\\u005Furl", b"\\u0066ile"]
)
def test_a_picture_spelt_with_escapes_is_a_picture(word: bytes) -> None:
    assert not decode(b'{"model":"m","messages":[{"content":[{"type":"' + word + b'"}]}]}').text_only


def test_escapes_alone_are_text() -> None:
    assert decode(b'{"model":"m","messages":[{"content":"caf\\u00e9 \\u003cb\\u003e image_url"}]}').text_only


def test_a_body_shows_nothing_of_itself_in_its_repr() -> None:
    assert MARKER not in repr(decode(body()))


def test_a_value_that_means_the_default_is_no_known_field_and_stays_in_the_body() -> None:
    """`store: false` says "do not keep": leaving it out towards an API would loosen that."""
    body = decode(b'{"model":"m","store":false,"service_tier":"default","cache_salt":"x"}')
    assert body.known == ("cache_salt",)
    assert b'"store":false' in openai.body(body.fields, "real", stream=False, want_usage=False, removed=body.known)


def decoded(name: str, **fields: Any) -> Body:
    return decode(json.dumps({"model": "m", **fields}).encode(), ENDPOINTS[name])


@pytest.mark.parametrize(
    ("name", "fields", "counted"),
    [
        ("responses", {"input": "abc", "instructions": "de", "user": "f" * 50}, '"abc""de"'),
        ("messages", {"messages": [], "system": "abc", "max_tokens": 1}, '[]"abc"'),
        ("embeddings", {"input": ["ab", "cd"]}, '["ab", "cd"]'),
        ("messages/count_tokens", {"messages": ["x" * 50]}, ""),
    ],
)
def test_each_endpoint_says_what_its_model_reads(name: str, fields: dict[str, Any], counted: str) -> None:
    assert decoded(name, **fields).prompt_bytes == len(counted)


@pytest.mark.parametrize(("ids", "tokens"), [([1], 1), ([100_000] * 50, 50), ([[1, 2], [30_000]], 3)])
@pytest.mark.parametrize(("name", "field"), [("embeddings", "input"), ("completions", "prompt")])
def test_token_ids_are_counted_not_weighed(name: str, field: str, ids: list[Any], tokens: int) -> None:
    assert decoded(name, **{field: ids}).prompt_bytes == round(tokens * BYTES_PER_TOKEN)


@pytest.mark.parametrize(
    ("name", "fields", "most"),
    [
        ("responses", {"max_output_tokens": 7, "max_tokens": 9}, 7),
        ("responses", {}, None),
        ("messages", {"max_tokens": 7}, 7),
        ("embeddings", {"max_tokens": 7}, 0),
        ("messages/count_tokens", {}, 0),
    ],
)
def test_each_endpoint_has_its_own_cap_or_writes_nothing(name: str, fields: dict[str, Any], most: int | None) -> None:
    assert decoded(name, **fields).max_tokens == most


def test_where_nothing_is_streamed_stream_says_nothing() -> None:
    assert decoded("responses", stream=True).stream
    assert not decoded("embeddings", stream=True).stream


@pytest.mark.parametrize("fields", [{}, {"max_tokens": None}, {"max_tokens": 0}])
def test_a_message_needs_its_cap(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decoded("messages", **fields)
    assert refused.value.param == "max_tokens"


def prefix_of(path: str, scope: bytes = b"", **fields: Any) -> tuple[int, ...]:
    endpoint = PATHS[path]
    return begins(decode(json.dumps({"model": "m", **fields}).encode(), endpoint).fields, endpoint, scope)


def test_turns_of_a_conversation_begin_alike() -> None:
    begin = [{"role": "system", "content": "Be brief. " * 200}]
    first = prefix_of("/v1/chat/completions", messages=[*begin, {"role": "user", "content": "a"}])
    assert first == prefix_of("/v1/chat/completions", messages=[*begin, {"role": "user", "content": "b"}], stream=True)
    assert first != prefix_of("/v1/chat/completions", messages=[{"role": "user", "content": "a" * 2000}])
    assert prefix_of("/v1/chat/completions", messages=[]) == ()
    assert prefix_of("/v1/chat/completions", b"another tenant's", messages=begin) != prefix_of(
        "/v1/chat/completions", messages=begin
    )


def test_what_the_model_reads_first_is_hashed_first() -> None:
    told = {"max_tokens": 5, "system": "Be brief. " * 200}
    one, other = ([{"role": "user", "content": text * 2000}] for text in "ab")
    assert prefix_of("/v1/messages", messages=one, **told)[0] == prefix_of("/v1/messages", messages=other, **told)[0]
    assert (
        prefix_of("/v1/responses", input="a" * 2000, instructions="i" * 2000)[:3]
        == prefix_of("/v1/responses", input="b" * 2000, instructions="i" * 2000)[:3]
    )
