"""The way back, from a real connection to what the ASGI server is given."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway.edge.account import CLIENT_STALLED, Account, Attempt
from gateway.edge.relay import read_some, relay
from gateway.errors import BadAnswer, Reset, UpstreamFailed, UpstreamFault, UpstreamTimeout
from gateway.model import MediaAsk, Timeouts, Usage
from gateway.upstreams.http1 import Address, Exchange, Pool, request_head
from gateway.upstreams.sse import MAX_FRAME_BYTES
from tests.worlds import request

FRONT = [(b"x-gateway-outcome", b"local")]
MOST = 1 << 20
SOON = 0.05
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-RateLimit-Remaining: 3\r\n\r\n"
FRAME = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"


def whole(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@asynccontextmanager
async def answered(*pieces: bytes, reset: bool = False) -> AsyncIterator[Exchange]:
    """An exchange with a server that answers with these pieces and then closes, or resets, the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if reset:
            writer.transport.abort()
        else:
            writer.close()

    async with serving(serve) as exchange:
        yield exchange


@asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    body: bytes = b"",
    total: float = 5.0,
) -> AsyncIterator[Exchange]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    pool = Pool(Address(host, port))
    try:
        head = request_head("POST", "/", host, (), 0)
        async with await pool.send(head, b"", Timeouts(total=total)) as exchange:
            yield exchange
    finally:
        await pool.aclose()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def silent(*pieces: bytes, total: float = 5.0) -> AsyncIterator[Exchange]:
    """An exchange with a server that says this and then nothing for as long as the exchange lasts."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(pieces))
        with suppress(ConnectionResetError):
            await reader.read()
        writer.transport.abort()
        ended.set()

    async with serving(serve, total=total) as exchange:
        yield exchange
    await ended.wait()


class Down:
    """The client's end: what was written to it, and whether it has room for more."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self.finished = self.paused = False
        self.on_room: Callable[[], None] | None = None
        self.job = None

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self.begin(status, headers, body)
        self.finish()

    def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]], piece: bytes) -> None:
        assert not self.status
        self.status, self.headers = status, dict(headers)
        self.write(piece)

    def write(self, piece: bytes) -> None:
        assert self.status
        assert not self.finished
        self.pieces.append(piece)

    def finish(self) -> None:
        assert self.status
        assert not self.finished
        self.finished = True

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


def attempted() -> Attempt:
    return Attempt("local-1", "1", time.monotonic())


async def relayed(
    exchange: Exchange, down: Down | None = None, attempt: Attempt | None = None, **asked: Any
) -> tuple[Down, Account, UpstreamFault | None]:
    down, account = down or Down(), Account(request(arrived=time.monotonic(), **asked), "v1")
    attempt = attempt or attempted()
    return down, account, await relay(exchange, account, attempt, lambda: FRONT, down, most=MOST)


async def refused(
    exchange: Exchange, fault: type[BaseException], attempt: Attempt | None = None, **asked: Any
) -> BaseException:
    """The fault that is raised while the client has seen nothing."""
    down, account = Down(), Account(request(**asked), "v1")
    with pytest.raises(fault) as caught:
        await relay(exchange, account, attempt or attempted(), lambda: FRONT, down, most=MOST)
    assert (down.status, down.pieces, account.first_byte, account.usage) == (0, [], None, None)
    return caught.value


def chunked(*pieces: bytes) -> tuple[bytes, ...]:
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    return (head, *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces))


END = b"0\r\n\r\n"


@pytest.mark.parametrize("asked", [False, True])
async def test_a_stream_and_its_usage(asked: bool) -> None:
    async with answered(*chunked(FRAME, USAGE, DONE), END) as exchange:
        down, account, broke = await relayed(exchange, stream=True, include_usage=asked)
    assert broke is None
    assert down.body == (FRAME + USAGE + DONE if asked else FRAME + DONE)
    assert down.headers == {b"content-type": b"text/event-stream", **dict(FRONT)}
    assert account.usage is not None
    assert (account.usage.output_tokens, account.usage.estimated) == (1, False)
    assert account.first_byte is not None


@pytest.mark.parametrize(("end", "images", "estimated"), [(END, 1, False), (b"", 3, True)], ids=["ended", "cut off"])
async def test_of_a_stream_of_pictures_those_that_came_are_booked(end: bytes, images: int, estimated: bool) -> None:
    """Of three; the others were filtered, or nobody knows."""
    told = b'{"type":"image_generation.completed","b64_json":"AA==","usage":{"input_tokens":5,"output_tokens":9}}'
    ask = {"endpoint": "images/generations", "n": 3, "media": MediaAsk(n=3), "stream": True}
    async with answered(*chunked(b"event: image_generation.completed\ndata: " + told + b"\n\n"), end) as exchange:
        _, account, _ = await relayed(exchange, **ask)
    assert account.usage is not None
    assert (account.usage.images, account.usage.estimated) == (images, estimated)


async def test_a_stream_without_usage_is_estimated() -> None:
    async with answered(*chunked(FRAME, FRAME, DONE), END) as exchange:
        _, account, _ = await relayed(exchange, stream=True)
    assert account.usage is not None
    assert account.usage.estimated


async def test_a_stream_cut_inside_a_frame_ends_at_the_last_whole_one() -> None:
    async with answered(*chunked(FRAME, FRAME[:20]), reset=True) as exchange:
        down, account, broke = await relayed(exchange, stream=True)
    assert isinstance(broke, Reset)
    assert account.error == "upstream_error"
    first, event, rest = down.body.split(b"\n\n")
    assert (first + b"\n\n", rest) == (FRAME, b"")
    assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "upstream_error"
    assert down.finished


async def test_where_part_of_a_frame_went_out_a_blank_line_comes_first() -> None:
    huge = b"data: " + b"x" * MAX_FRAME_BYTES
    async with answered(*chunked(huge), reset=True) as exchange:
        down, _, broke = await relayed(exchange, stream=True)
    assert isinstance(broke, Reset)
    before, event, rest = down.body.split(b"\n\n")
    assert before == huge
    assert b'"upstream_error"' in event
    assert rest == b""


@pytest.mark.parametrize("pieces", [(), (FRAME[:20],)], ids=["nothing", "half a frame"])
async def test_before_the_first_frame_the_client_has_seen_nothing(pieces: tuple[bytes, ...]) -> None:
    async with answered(*chunked(*pieces), reset=True) as exchange:
        await refused(exchange, Reset, stream=True)


@pytest.mark.parametrize("status", [200, 400, 404, 422])
async def test_a_whole_answer_passes_with_its_status_and_body(status: int) -> None:
    body = b'{"usage":{"prompt_tokens":2,"completion_tokens":1}}'
    async with answered(whole(status, body, b"X-RateLimit-Limit: 3", b"Set-Cookie: a=b")) as exchange:
        down, account, _ = await relayed(exchange)
    assert (down.status, down.body, down.finished) == (status, body, True)
    assert down.headers == {b"content-type": b"application/json", **dict(FRONT)}
    assert (account.usage is not None) is (status == 200)


@pytest.mark.parametrize("usage", ['{"prompt_tokens":95}', '{"prompt_tokens":95,"completion_tokens":0}'])
async def test_text_whose_output_was_not_told_is_counted(usage: str) -> None:
    body = b'{"choices":[{"message":{"content":"%b"}}],"usage":%b}' % (b"word " * 2_000, usage.encode())
    async with answered(whole(200, body)) as exchange:
        _, account, _ = await relayed(exchange, max_tokens=None)
    assert account.usage is not None
    assert account.usage.output_tokens > 2_000
    assert (account.usage.input_tokens, account.usage.estimated, account.usage.absurd) == (95, True, False)


async def test_an_answer_too_large_to_hold_is_refused_before_a_byte_of_it_leaves() -> None:
    attempt = attempted()
    async with answered(whole(200, b"x" * (MOST + 1))) as exchange:
        fault = await refused(exchange, UpstreamFailed, attempt)
    assert attempt.result == "TooLong"
    assert isinstance(fault, UpstreamFailed)
    assert fault.retry is False, "another upstream would write as much"


async def test_of_a_long_refusal_enough_is_read_to_tell_its_code() -> None:
    async with answered(whole(500, b"x" * (1 << 20))) as exchange:
        assert 0 < len(await read_some(exchange)) <= 64 << 10


ERROR = b'data: {"error":{"message":"engine died","code":500}}\n\n'


async def test_an_error_event_before_anything_else_is_a_fault_that_another_upstream_may_mend() -> None:
    async with answered(*chunked(ERROR, DONE), END) as exchange:
        await refused(exchange, BadAnswer, stream=True)


async def test_an_error_event_later_ends_the_stream_without_its_end_mark() -> None:
    seen = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(chunked(FRAME)))
        await seen.wait()
        writer.write(b"".join(chunked(ERROR, DONE)[1:]) + END)
        writer.close()

    class Seeing(Down):
        def write(self, piece: bytes) -> None:
            super().write(piece)
            seen.set()

    async with serving(serve) as exchange:
        down, account, broke = await relayed(exchange, Seeing(), stream=True)
    assert isinstance(broke, BadAnswer)
    assert account.error == "upstream_error"
    assert down.body == FRAME + ERROR


async def test_a_stream_that_ends_only_by_closing_must_have_said_its_end() -> None:
    async with answered(STREAM_HEAD, FRAME, DONE) as exchange:
        _, _, broke = await relayed(exchange, stream=True)
    assert broke is None
    async with answered(STREAM_HEAD, FRAME) as exchange:
        down, _, broke = await relayed(exchange, stream=True)
    assert isinstance(broke, Reset)
    assert b"[DONE]" not in down.body
    async with answered(STREAM_HEAD) as exchange:
        await refused(exchange, Reset, stream=True)


@pytest.mark.parametrize("status", [200, 400, 404])
async def test_an_encoded_answer_is_none_whatever_its_status(status: int) -> None:
    async with answered(whole(status, b"{}", b"Content-Encoding: gzip")) as exchange:
        await refused(exchange, BadAnswer)


@pytest.mark.parametrize(
    "head",
    [b"Content-Type: text/html", b"X-None: 1"],
    ids=["html", "no type"],
)
async def test_a_success_that_is_not_plain_json_or_events_is_no_answer(head: bytes) -> None:
    async with answered(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nContent-Length: 2\r\n\r\n{}") as exchange:
        await refused(exchange, BadAnswer)


@pytest.mark.parametrize(
    ("endpoint", "first", "last"),
    [
        ("chat/completions", FRAME, DONE),
        ("responses", FRAME, b'event: response.completed\ndata: {"type":"response.completed","response":{}}\n\n'),
        ("messages", FRAME, b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
    ],
)
async def test_a_connection_that_breaks_after_the_streams_own_end_takes_nothing_away(
    endpoint: str, first: bytes, last: bytes
) -> None:
    async with answered(*chunked(first, last), reset=True) as exchange:
        down, account, broke = await relayed(exchange, stream=True, endpoint=endpoint)
    assert (broke, account.error, down.body) == (None, None, first + last)
    assert account.last_byte is not None


@pytest.mark.parametrize(
    ("endpoint", "begins"),
    [
        ("chat/completions", b'data: {"error":'),
        ("responses", b'event: error\ndata: {"type":"error","code":"upstream_error",'),
        ("messages", b'event: error\ndata: {"type":"error","error":{"type":"api_error",'),
    ],
)
async def test_a_stream_that_breaks_off_says_so_in_the_words_of_its_endpoint(endpoint: str, begins: bytes) -> None:
    async with answered(*chunked(FRAME), reset=True) as exchange:
        down, account, broke = await relayed(exchange, stream=True, endpoint=endpoint)
    assert isinstance(broke, Reset)
    assert down.body.removeprefix(FRAME).startswith(begins)
    assert account.error == "upstream_error"


START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":1}}}\n\n'
)
DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"a"}}\n\n'


async def test_usage_told_at_the_start_is_no_usage_of_what_came_after_it() -> None:
    async with answered(*chunked(START, DELTA, DELTA, DELTA), reset=True) as exchange:
        _, account, _ = await relayed(exchange, stream=True, endpoint="messages")
    assert account.usage == Usage(7, 3, estimated=True)
    async with answered(*chunked(START), reset=True) as exchange:
        _, account, _ = await relayed(exchange, stream=True, endpoint="messages")
    assert account.usage == Usage(7, 1)


async def test_embeddings_have_no_output_to_guess() -> None:
    async with answered(whole(200, b'{"data":[{"embedding":[0.1,0.2,0.3]}]}')) as exchange:
        _, account, _ = await relayed(exchange, endpoint="embeddings", max_tokens=0)
    assert account.usage is not None
    assert (account.usage.output_tokens, account.usage.estimated) == (0, True)


async def test_what_is_known_of_an_attempt() -> None:
    """For the votes of the limit: moments are taken where the upstream's bytes arrive."""
    before = time.monotonic()
    async with answered(*chunked(FRAME, FRAME, USAGE, DONE), END) as exchange:
        await relayed(exchange, attempt=(stream := attempted()), stream=True)
    assert stream.first is not None
    assert stream.last is not None
    assert before <= stream.first <= stream.last <= time.monotonic()
    assert stream.held_at is None
    async with answered(whole(200, b'{"usage":{"prompt_tokens":2,"completion_tokens":7}}')) as exchange:
        await relayed(exchange, attempt=(answer := attempted()))
    assert (answer.first, answer.held_at, answer.tokens) == (None, None, 7)
    assert answer.last is not None


class Slow(Down):
    """Has no room for more than one piece at a time."""

    def write(self, piece: bytes) -> None:
        super().write(piece)
        self.paused = True


async def test_a_slow_reader_holds_the_stream_back() -> None:
    rest_sent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, first, *rest = chunked(FRAME, FRAME, DONE)
        writer.write(head + first)
        await had_first.wait()
        writer.write(b"".join(rest) + END)
        await writer.drain()
        rest_sent.set()
        writer.close()

    class Noting(Slow):
        def write(self, piece: bytes) -> None:
            super().write(piece)
            had_first.set()

    had_first, down, attempt = asyncio.Event(), Noting(), attempted()
    async with serving(serve) as exchange:
        task = asyncio.create_task(relayed(exchange, down, attempt, stream=True))
        await rest_sent.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert (down.body, attempt.tokens) == (FRAME, 1), "it stays in the kernel"
        assert attempt.held_at is not None
        down.paused = False
        assert down.on_room is not None
        down.on_room()
        _, account, broke = await task
    assert (broke, account.error, down.body, down.finished) == (None, None, FRAME + FRAME + DONE, True)
    assert down.on_room is None


async def test_time_that_ends_while_the_client_takes_nothing_is_the_clients() -> None:
    async with silent(*chunked(FRAME), total=SOON) as exchange:
        down, account, broke = await relayed(exchange, Slow(), stream=True)
    assert isinstance(broke, UpstreamTimeout)
    assert broke.held
    assert account.error == CLIENT_STALLED
    assert down.body.startswith(FRAME + b'data: {"error":'), "a reader that is only slow is told"
    assert down.finished
    assert account.usage is not None, "what it was given counts"


async def test_time_that_ends_while_the_client_waits_is_the_upstreams() -> None:
    async with silent(*chunked(FRAME), total=SOON) as exchange:
        _, account, broke = await relayed(exchange, stream=True)
    assert isinstance(broke, UpstreamTimeout)
    assert not broke.held
    assert account.error == "upstream_error"


async def test_an_upstream_that_breaks_while_the_client_takes_nothing_is_still_told_of() -> None:
    """Nothing waits for room: whose fault it was is known at once, and the client reads of it when it reads again."""
    went_out = asyncio.Event()

    class Noting(Down):
        def write(self, piece: bytes) -> None:
            super().write(piece)
            went_out.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(chunked(FRAME)))
        await went_out.wait()
        down.paused = True
        writer.transport.abort()

    down = Noting()
    async with serving(serve) as exchange:
        _, account, broke = await relayed(exchange, down, stream=True)
    assert isinstance(broke, Reset)
    assert (account.error, down.finished) == ("upstream_error", True)


@pytest.mark.parametrize("left", [None, "client_left"])
async def test_a_stream_that_the_end_of_the_process_cuts_says_so(left: str | None) -> None:
    begun = asyncio.Event()

    class Noting(Down):
        def write(self, piece: bytes) -> None:
            super().write(piece)
            begun.set()

    down, account = Noting(), Account(request(arrived=time.monotonic(), stream=True), "v1")
    async with silent(*chunked(FRAME)) as exchange:
        task = asyncio.create_task(relay(exchange, account, attempted(), lambda: FRONT, down, most=MOST))
        await begun.wait()
        account.left = left
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    if left is None:
        event = json.loads(down.body.removeprefix(FRAME).removeprefix(b"data: "))
        assert (event["error"]["code"], account.error, down.finished) == ("shutting_down", "shutting_down", True)
    else:
        assert (down.body, account.error, down.finished) == (FRAME, None, False)
