"""HTTP/1.1 as it comes in: uvicorn's protocol with an exact frame around every request.

llhttp (through httptools) checks the grammar. What it leaves open is settled here (tests/edge/test_protocol.py pins
which of the two refuses what): where head and body end, that one request is read at a time, and how large a head may
be. Sources: RFC 9112 sections 2.2, 3, 6, 7 and 9; RFC 9110 sections 7.8 and 10.1.1.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.edge.cycle import Cycle
from gateway.edge.deadline import Deadline, Patience
from gateway.edge.flow import Flow
from gateway.edge.head import MAX_HEADERS, OF_FRAMING, Refusal, check_size, framing, is_http11

MAX_BARREN_BYTES = 16 * 1024
"""Longest run of chunk framing and trailers without a byte of body, looked at once per read."""
MAX_AHEAD_BYTES = 256 * 1024
"""Of what is sent before the answer to an earlier request is complete; as much as one read of uvloop brings."""
LINGER_BYTES = 16 << 20
"""What is dropped of a caller that is still sending after its last answer, before its connection is closed on it."""

HEAD, SIZED, CHUNKED, ANSWERING, SWITCHED, DONE = range(6)
"""Phases of a connection: a head is awaited, a body of either kind is read, all of the request is here, the bytes are
no HTTP any more, nothing is read any more."""
_END = b"\r\n\r\n"
"""Ends every head, and every chunked body: nothing else can (RFC 9112 sections 2.1 and 7.1)."""
_UPGRADE_LINE = re.compile(rb"(?i)\r\nupgrade:[^\r\n]*")


class Reading(HttpToolsProtocol):
    """The reading half of a connection (`protocol.py` has the other one). The parser is never fed past the end of a
    message; what a caller sends ahead is held back until its turn comes, so that an answer is never written into
    another.
    """

    patience = Patience()
    leaving = False
    """Of all connections: each answer from now on is the last one of its connection."""
    cycle: Cycle
    flow: Flow
    _deadline: Deadline

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._phase = HEAD
        self._head = self._tail = b""
        self._left = self._barren = self._dropped = 0
        self._headed = self._whole = self._keep = False
        self._ahead = bytearray()
        self._uploading = Uploading(self)
        self._sink: Callable[[bytes], None] = nowhere

    # What the other half does.

    def _refuse(self, refusal: Refusal) -> None:
        """Answers plainly, and reads nothing more."""
        raise NotImplementedError

    def linger(self) -> None:
        """The last answer is written: what still comes is dropped."""
        raise NotImplementedError

    def _switch(self, sink: Callable[[bytes], None]) -> None:
        """What comes is no HTTP any more."""
        raise NotImplementedError

    # Bytes.

    def data_received(self, data: bytes) -> None:
        if self._phase == DONE:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES:
                self.transport.close()
            return
        if self._phase == SWITCHED:
            self._sink(data)
            return
        self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            while data and self._phase < ANSWERING:
                if self._phase == HEAD:
                    data = self._read_head(data)
                elif self._phase == SIZED:
                    data = self._read_sized(data)
                else:
                    data = self._read_chunked(data)
        except Refusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as fault:
            # llhttp's own words, which are constants and never quote the input.
            self._refuse(Refusal(HTTPStatus.BAD_REQUEST, f"malformed request: {fault}"))
        else:
            if self._phase in (SIZED, CHUNKED):
                # An answer that comes before the end of the body is the last one: a caller that waits for
                # "100 Continue" may or may not send its body after it (RFC 9110 section 10.1.1).
                self.cycle.keep_alive = False
                self.cycle.transport = cast(asyncio.Transport, self._uploading)
            elif data and self.cycle.keep_alive:
                self._hold_back(data)

    def _hold_back(self, data: bytes) -> None:
        """What is sent ahead. Too much of it is dropped, and the answer at work becomes the last: reading goes on, so
        that a caller who leaves is heard."""
        if len(self._ahead) + len(data) <= MAX_AHEAD_BYTES:
            self._ahead += data
            return
        self._ahead.clear()
        self.cycle.keep_alive = False
        self.cycle.transport = cast(asyncio.Transport, self._uploading)

    def _read_head(self, data: bytes) -> bytes:
        before = len(self._head)
        whole = self._head + data
        end = whole.find(_END, max(0, before - len(_END) + 1)) + len(_END)
        complete = end >= len(_END)
        self._head = whole[:end] if complete else whole
        check_size(self._head)
        self._feed(self._head[before:])
        if not complete:
            if not before:
                self._deadline.watch(self.patience.head)
            return b""
        self._begin()
        self._head = b""
        return whole[end:]

    def _feed(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # Nothing is offered that one could upgrade to, and the offer may be ignored (RFC 9110 section 7.8).
            # But llhttp has taken the body for what comes after an upgrade: it reads the head again without the offer.
            self.parser = httptools.HttpRequestParser(self)
            try:
                self.parser.feed_data(_UPGRADE_LINE.sub(b"", self._head))
            except httptools.HttpParserUpgrade:
                raise Refusal(HTTPStatus.BAD_REQUEST, "CONNECT is not supported") from None

    def _begin(self) -> None:
        """The head is here: settles how the body ends (RFC 9112 section 6.3) and starts the application."""
        if not self._headed:
            raise Refusal(HTTPStatus.BAD_REQUEST, "malformed request: more than one empty line before it")
        if len(self.headers) > MAX_HEADERS:
            raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {MAX_HEADERS} headers")
        length, self.expect_100_continue = framing(self._framed, http11=is_http11(self._head))
        self._phase = CHUNKED if length is None else SIZED
        self._left, self._barren, self._tail = length or 0, 0, b""
        self._deadline.drop()
        self._start()
        if self._whole:
            self._complete()

    def _start(self) -> None:
        try:
            url = httptools.parse_url(self.url)
        except httptools.HttpParserInvalidURLError:  # its text quotes the target
            raise Refusal(HTTPStatus.BAD_REQUEST, "malformed request target") from None
        scope, version = self.scope, self.parser.get_http_version()
        path = url.path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not self.leaving,
            on_response=self.on_response_complete,
        )
        self.cycle.on_switch = self._switch
        self._start_asgi_task(self.cycle, self.app)

    def _read_sized(self, data: bytes) -> bytes:
        """Counts: there is nothing to parse, and llhttp would copy each piece. It goes on with the next request."""
        piece, rest = (data, b"") if len(data) <= self._left else (data[: self._left], data[self._left :])
        self._left -= len(piece)
        self.on_body(piece)
        if not self._left:
            self.parser = httptools.HttpRequestParser(self)  # the old one still waits for this body
            self._complete()
        return rest

    def _read_chunked(self, data: bytes) -> bytes:
        """Feeds the parser up to each place where the body can end, and returns what follows where it does."""
        window = self._tail + data
        fed, seek = len(self._tail), 0
        while (end := window.find(_END, seek) + len(_END)) >= len(_END):
            self._feed_chunked(window[fed:end])
            fed = seek = end
            if self._whole:
                self._complete()
                return window[end:]
        if fed < len(window):
            self._feed_chunked(window[fed:])
        self._tail = window[-len(_END) + 1 :]
        return b""

    def _feed_chunked(self, piece: bytes) -> None:
        self._barren += len(piece)
        self.parser.feed_data(piece)
        if self._barren > MAX_BARREN_BYTES:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"more than {MAX_BARREN_BYTES} bytes of chunk framing without a body")

    def _complete(self) -> None:
        self._phase = ANSWERING
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.whole()
        cycle.waiting_for_100_continue = False
        cycle.transport = self.transport
        if not cycle.response_started:
            cycle.keep_alive = self._keep

    # What the parser reports.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._headed = self._whole = False
        self._framed: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase == HEAD:  # later ones are trailers, which must not become headers
            header = name.lower(), value.rstrip(b" \t")
            self.headers.append(header)
            if header[0] in OF_FRAMING:
                self._framed.append(header)

    def on_headers_complete(self) -> None:
        self._headed = True
        self._keep = self.parser.should_keep_alive() and self.parser.get_http_version() == "1.1" and not self.leaving

    def on_body(self, body: bytes) -> None:
        self._barren = 0
        if not self.cycle.response_complete:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        self._whole = True


def nowhere(_: bytes) -> None:
    """Who is gone is told nothing."""


class Uploading:
    """The transport as an answer sees it while its request's body is still coming: to close is to linger."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: Reading) -> None:
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.linger()

    def abort(self) -> None:
        self._protocol.transport.abort()
