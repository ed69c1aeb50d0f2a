"""Messages to webhooks: signed as Standard Webhooks has it, tried again, never led elsewhere."""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from gateway.upstreams.client import Client
from gateway.upstreams.webhooks import Webhooks, post_once, secret_bytes, signature

BODY = b'{"type": "budget.threshold"}'


@dataclass
class Receiver:
    """Answers with `statuses`, the last one for ever; keeps what came."""

    statuses: list[int]
    url: str = ""
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[1:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.seen.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        where = f"location: {self.url}elsewhere\r\n" if status == 302 else ""
        writer.write(f"HTTP/1.1 {status} X\r\n{where}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[Receiver]:
    made = Receiver(list(statuses))
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=b"
    async with server:
        yield made


@asynccontextmanager
async def posting(secret: str | None = None) -> AsyncIterator[tuple[Webhooks, list[float]]]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    client = Client()
    yield Webhooks(client, secret, now=lambda: 1_700_000_000.9, sleep=sleep), slept
    await client.aclose()


async def test_a_message_is_signed() -> None:
    async with receiving(204) as receiver, posting("a-secret-of-the-operator") as (webhooks, slept):
        assert await webhooks.post(receiver.url, "msg_1", BODY)
    ((headers, body),) = receiver.seen
    assert body == BODY
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_1", "1700000000")
    version, _, told = headers["webhook-signature"].partition(",")
    mac = hmac.digest(b"a-secret-of-the-operator", b"msg_1.1700000000." + BODY, "sha256")
    assert (version, b64decode(told)) == ("v1", mac)
    assert slept == []


async def test_it_is_tried_again_and_given_up() -> None:
    async with receiving(500, 302, 200) as receiver, posting() as (webhooks, slept):
        assert await webhooks.post(receiver.url, "msg_1", BODY)
    assert [headers["webhook-id"] for headers, _ in receiver.seen] == ["msg_1"] * 3, "a redirect is not followed"
    assert "webhook-signature" not in receiver.seen[0][0]
    assert slept == [1.0, 5.0]
    async with receiving(404) as receiver, posting() as (webhooks, slept):
        assert not await webhooks.post(receiver.url, "msg_1", BODY)
    assert len(receiver.seen) == 4


async def test_nobody_listens() -> None:
    async with posting() as (webhooks, slept):
        assert not await webhooks.post("http://127.0.0.1:1/", "msg_1", BODY)
    assert slept == [1.0, 5.0, 20.0]


@pytest.mark.parametrize(
    ("secret", "raw"),
    [("plain", b"plain"), ("whsec_" + b64encode(b"\0key").decode(), b"\0key"), ("whsec_***", b"whsec_***")],
)
def test_secrets(secret: str, raw: bytes) -> None:
    assert secret_bytes(secret) == raw


def test_the_signature_of_the_standard() -> None:
    """The example of the Standard Webhooks specification."""
    secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    told = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert told == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_an_address_of_a_callers_choice_is_guarded() -> None:
    secret = "whsec_" + b64encode(b"a secret").decode()
    async with receiving(204) as receiver:
        assert not await post_once(receiver.url, "msg_1", BODY, secret, at=1_700_000_000, allow_private=False)
        assert receiver.seen == [], "loopback is not public: nothing was sent"
        assert await post_once(receiver.url, "msg_1", BODY, secret, at=1_700_000_000, allow_private=True)
    ((headers, body),) = receiver.seen
    assert body == BODY
    expected = Webhook(secret).sign("msg_1", datetime.fromtimestamp(1_700_000_000, UTC), BODY.decode())
    assert headers["webhook-signature"] == expected


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_what_is_no_2xx_has_not_taken_it(status: int) -> None:
    async with receiving(status) as receiver:
        assert not await post_once(receiver.url, "msg_1", BODY, "a" * 16, at=1, allow_private=True)
    assert len(receiver.seen) == 1, "it is tried once, and a redirect is not followed"


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/",
        "https://169.254.169.254/",
        "http://[::1]/",
        "http://localhost:1/",
        "ftp://x/",
        "http://u:p@x/",
    ],
)
async def test_where_no_message_goes(url: str) -> None:
    assert not await post_once(url, "msg_1", BODY, "a" * 16, at=1, allow_private=False)
