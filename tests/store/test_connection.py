"""The store's client against real servers: batches, errors one by one, lateness, loss, recovery, credentials, TLS."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha1
from pathlib import Path

import hiredis
import pytest
import uvloop

from gateway.errors import StartupFault, StoreFault
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from gateway.store.scripts import Script, load
from gateway.store.wire import LATE_LIMIT, Call, ReplyFault, Wire
from tests.polling import until

REDIS = shutil.which("redis-server")
TIMEOUT = 0.050
SLACK = 0.100
"""Seconds that a busy machine may add to a limit."""


def scripted(text: str) -> Script:
    return Script("test", text, sha1(text.encode()).hexdigest())


async def fault(call: Awaitable[object]) -> StoreFault:
    with pytest.raises(StoreFault) as caught:
        await call
    return caught.value


@pytest.fixture
async def client(own_server: Embedded) -> AsyncIterator[Store]:
    store = Store(own_server.url, timeout=TIMEOUT)
    await store.check()
    yield store
    await store.aclose()


def admin(server: Embedded, *command: str) -> bytes:
    """One command on a connection of its own."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5.0)
        raw.connect(server.url.removeprefix("unix://"))
        raw.sendall(hiredis.pack_command(command))
        return raw.recv(4096)


async def test_answers_are_matched_and_errors_concern_their_own_call(store: Store) -> None:
    await store.call("RPUSH", "list", "a")
    answers = await asyncio.gather(
        store.call("ECHO", "one"),
        store.call("INCR", "list"),
        store.call("INCR", "n"),
        store.call("GET", "missing"),
        store.call("LRANGE", "list", 0, -1),
        return_exceptions=True,
    )
    assert isinstance(answers[1], ReplyFault)
    assert answers[1].code == "WRONGTYPE"
    assert [answers[0], *answers[2:]] == [b"one", 1, None, [b"a"]]
    assert not store.degraded


async def test_unknown_scripts_are_loaded_within_a_batch(store: Store) -> None:
    script = load("gateway.fleet", "lib", "waits", "release")
    echo = scripted("return {KEYS[1], ARGV[1]}")
    for _ in range(2):
        await store.call("SCRIPT", "FLUSH")
        answers = await asyncio.gather(
            *(store.eval(echo, ["k"], [n]) for n in range(20)),
            store.eval(script, ["l", "o", "c", "b", "e", "{w}"], [1, "nobody", "nobody:1"]),
            store.call("PING"),
        )
        assert answers == [[b"k", str(n).encode()] for n in range(20)] + [b"OK", b"PONG"]


async def test_a_script_is_posted_by_text_by_hash_and_by_text_again_where_it_is_forgotten(store: Store) -> None:
    count, failures = scripted("return redis.call('INCR', KEYS[1])"), []
    for forgotten in (False, False, True):
        if forgotten:
            await store.call("SCRIPT", "FLUSH")
        await store.post(count, ["runs"], [], lambda: failures.append(1))
    assert await store.call("GET", "runs") == b"3"
    assert not failures


async def test_what_is_posted_before_a_call_is_run_before_it(store: Store) -> None:
    """Also the first time, when its text has to be sent."""
    count = scripted("return redis.call('INCR', KEYS[1])")
    for runs in range(1, 4):
        posted = store.post(count, ["runs"], [], lambda: None)
        assert await store.call("GET", "runs") == str(runs).encode()
        await posted


async def test_a_post_that_cannot_be_run_says_so_and_raises_nothing(own_server: Embedded) -> None:
    failures: list[int] = []
    away = Store(own_server.url)
    await away.post(scripted("return 1"), [], [], lambda: failures.append(1))
    store = Store(own_server.url)
    await store.check()
    await store.post(scripted("return redis.error_reply('NOPE')"), [], [], lambda: failures.append(2))
    await store.aclose()
    assert failures == [1, 2]


async def test_a_failing_script_is_not_run_twice(store: Store) -> None:
    script = scripted("redis.call('INCR', KEYS[1]) return redis.error_reply('NOPE not today')")
    assert isinstance(await fault(store.eval(script, ["runs"], [])), ReplyFault)
    assert await store.call("GET", "runs") == b"1"


class Scripted(asyncio.Protocol):
    """A server that keeps what it reads, piece by piece, and answers each command with `answer`."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.read: list[bytes] = []
        self.left = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.read.append(data)
        self.transport.write(self.answer * data.count(b"*"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.left.set()


async def test_calls_of_one_turn_leave_in_one_write(tmp_path: Path) -> None:
    peer = Scripted(b"+OK\r\n")
    async with await asyncio.get_running_loop().create_unix_server(lambda: peer, tmp_path / "s"):
        store = Store(f"unix://{tmp_path}/s")
        with pytest.raises(StartupFault):  # its answer to INFO is no INFO, but the connection stands
            await store.check()
        peer.read.clear()
        await asyncio.gather(*(store.call("SET", n, "v") for n in range(50)))
        assert len(peer.read) == 1
        await store.aclose()
        await peer.left.wait()


@pytest.mark.parametrize("answer", [b"+OK\r\n+EXTRA\r\n", b"HTTP/1.1 400\r\n"])
async def test_a_peer_that_does_not_speak_the_protocol_is_dropped(tmp_path: Path, answer: bytes) -> None:
    peer = Scripted(answer)
    async with await asyncio.get_running_loop().create_unix_server(lambda: peer, tmp_path / "s"):
        store = Store(f"unix://{tmp_path}/s")
        with pytest.raises(StartupFault):
            await store.check()
        assert store.degraded
        await peer.left.wait()
        await store.aclose()


async def test_cancelled_calls_keep_their_place(store: Store) -> None:
    rng = random.Random(7)
    for _ in range(50):
        calls = {str(n): asyncio.ensure_future(store.call("ECHO", n)) for n in range(20)}
        await asyncio.sleep(0)
        for call in rng.sample(list(calls.values()), 10):
            call.cancel()
        answers = await asyncio.gather(*calls.values(), return_exceptions=True)
        for nonce, answer in zip(calls, answers, strict=True):
            assert isinstance(answer, asyncio.CancelledError) or answer == nonce.encode()


async def test_a_call_cancelled_before_its_turn_is_not_sent(store: Store) -> None:
    store.call("SET", "a", "b").cancel()
    assert await store.call("GET", "a") is None


async def test_a_late_call_concerns_that_call_only(own_server: Embedded, client: Store) -> None:
    os.kill(own_server.pid, signal.SIGSTOP)
    started = time.monotonic()
    late = await fault(client.call("ECHO", "late"))
    assert TIMEOUT <= time.monotonic() - started < TIMEOUT + SLACK
    os.kill(own_server.pid, signal.SIGCONT)
    assert "in time" in str(late)
    assert not client.degraded
    assert await client.call("ECHO", "next") == b"next"


async def test_late_calls_in_a_row_degrade_and_it_recovers(own_server: Embedded, client: Store) -> None:
    told: list[bool] = []
    client.listen(lambda degraded, _: told.append(degraded))
    os.kill(own_server.pid, signal.SIGSTOP)
    for _ in range(LATE_LIMIT):
        assert not client.degraded
        await fault(client.call("PING"))
    assert told == [True]
    started = time.monotonic()
    await fault(client.call("PING"))
    assert time.monotonic() - started < TIMEOUT / 2
    await asyncio.sleep(4 * TIMEOUT)  # probes fail meanwhile
    assert client.degraded
    os.kill(own_server.pid, signal.SIGCONT)
    await until(lambda: not client.degraded)
    assert told == [True, False]
    assert await client.call("ECHO", "back") == b"back"


async def test_an_answer_in_time_ends_the_row(own_server: Embedded, client: Store) -> None:
    for _ in range(LATE_LIMIT + 1):
        os.kill(own_server.pid, signal.SIGSTOP)
        await fault(client.call("PING"))
        os.kill(own_server.pid, signal.SIGCONT)
        assert await client.call("PING") == b"PONG"
    assert not client.degraded


class Busy(asyncio.Protocol):
    """Holds up the loop when it reads something."""

    def data_received(self, data: bytes) -> None:
        time.sleep(2 * TIMEOUT)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_busy_loop_of_our_own_is_not_the_stores_lateness(run: Callable[..., None]) -> None:
    async def main() -> None:
        loop, (ours, theirs), (near, far) = asyncio.get_running_loop(), socket.socketpair(), socket.socketpair()
        busy, _ = await loop.create_unix_connection(Busy, sock=ours)
        _, wire = await loop.create_unix_connection(lambda: Wire(lambda *_: None), sock=near)
        try:
            answer = loop.create_future()
            wire.send([Call(b"PING\r\n", answer)], TIMEOUT)
            threading.Timer(TIMEOUT / 2, far.send, [b"+PONG\r\n"]).start()  # in time, but we are busy
            theirs.send(b"now")
            assert await answer == b"PONG"
        finally:  # with warnings as errors, uvloop never finishes closing while a transport is open
            wire.close("the test is over")
            busy.abort()
            await asyncio.sleep(0)
            theirs.close()
            far.close()

    run(main())


async def test_a_killed_store_is_noticed_and_its_restart_too(
    own_server: Embedded, client: Store, tmp_path: Path
) -> None:
    patient = Store(own_server.url, timeout=5.0)
    await patient.check()
    await patient.call("SET", "kept", "yes")
    await patient.call("WAITAOF", 1, 0, 0)
    await patient.aclose()
    waiting = client.call("BLPOP", "nothing", 0)
    await asyncio.sleep(0)
    os.kill(own_server.pid, signal.SIGKILL)
    assert "closed" in str(await fault(waiting))
    await until(lambda: client.degraded, TIMEOUT + SLACK)
    started = time.monotonic()
    await fault(client.call("PING"))
    assert time.monotonic() - started < TIMEOUT / 2
    own_server.stop()
    again = Embedded.start(tmp_path / "store")
    try:
        await until(lambda: not client.degraded)
        assert await client.call("GET", "kept") == b"yes"
    finally:
        again.stop()


async def test_no_answer_is_mixed_up_while_the_store_stutters(own_server: Embedded, client: Store) -> None:
    rng = random.Random(11)
    good, failed = 0, 0
    stop = time.monotonic() + 2.0

    async def caller(name: int) -> None:
        nonlocal good, failed
        turn = 0
        while time.monotonic() < stop:
            turn += 1
            nonce = f"{name}:{turn}".encode()
            try:
                assert await client.call("ECHO", nonce) == nonce
                good += 1
            except StoreFault:
                failed += 1
            await asyncio.sleep(rng.random() * 0.004)

    async def stutter() -> None:
        while time.monotonic() < stop:
            os.kill(own_server.pid, signal.SIGSTOP)
            await asyncio.sleep(rng.choice((0.02, 0.045, 0.055, 0.1)))
            os.kill(own_server.pid, signal.SIGCONT)
            await asyncio.sleep(rng.random() * 0.1)

    await asyncio.gather(stutter(), *(caller(n) for n in range(40)))
    assert good > 100
    assert failed > 100
    await until(lambda: not client.degraded)


async def test_a_store_that_refuses_writes_is_degraded(own_server: Embedded, client: Store) -> None:
    admin(own_server, "CONFIG", "SET", "maxmemory", "1")
    assert "OOM" in str(await fault(client.call("SET", "a", "b")))
    assert client.degraded
    await asyncio.sleep(2 * TIMEOUT)
    assert client.degraded
    admin(own_server, "CONFIG", "SET", "maxmemory", "0")
    await until(lambda: not client.degraded)


async def test_start_up_refuses_a_store_that_evicts(own_server: Embedded, client: Store) -> None:
    admin(own_server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(StartupFault, match=r"allkeys-lru.*set `maxmemory-policy noeviction`"):
        await client.check()


@pytest.mark.parametrize("url", ["http://h", "redis://h:secret@x:port", "redis://:secret@h/?ssl_cert_reqs=1", "", "x"])
def test_a_url_that_is_not_understood(url: str) -> None:
    with pytest.raises(StartupFault, match="rediss://") as caught:
        Store(url)
    assert "secret" not in str(caught.value)


async def test_nobody_there(tmp_path: Path) -> None:
    store = Store(f"unix://:secret@{tmp_path}/none.sock")
    with pytest.raises(StartupFault, match=r"none\.sock") as caught:
        await store.check()
    assert "secret" not in str(caught.value)
    assert "degraded" in str(await fault(store.call("PING")))


async def test_password_and_database(own_server: Embedded) -> None:
    admin(own_server, "CONFIG", "SET", "requirepass", "secret")
    path = own_server.url.removeprefix("unix://")
    store = Store(f"unix://:secret@{path}?db=3")
    await store.check()
    await store.call("SET", "a", "b")
    assert b"db3:keys=" in await store.call("INFO", "keyspace")
    assert "secret" not in repr(store)
    await store.aclose()
    for url in (f"unix://:secretly@{path}", f"unix://{path}"):
        with pytest.raises(StartupFault, match=r"WRONGPASS|NOAUTH") as caught:
            await Store(url).check()
        assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    try:
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return folder


async def test_tls(certificate: Path, tmp_path: Path) -> None:
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = f"--port 0 --tls-port {port} --tls-auth-clients no --save '' --dir {tmp_path}".replace("''", "").split()
    files = ["--tls-cert-file", f"{certificate}/cert.pem", "--tls-key-file", f"{certificate}/key.pem"]
    command = [REDIS, *options, *files, "--bind", "127.0.0.1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220  # it returns at once
    try:
        await until(lambda: _listens(port))
        store = Store(f"rediss://localhost:{port}?ssl_ca_certs={certificate}/cert.pem", timeout=5.0)
        await store.check()
        assert await store.call("ECHO", "sealed") == b"sealed"
        await store.aclose()
        with pytest.raises(StartupFault) as caught:  # not signed by anybody this machine trusts
            await Store(f"rediss://localhost:{port}").check()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
