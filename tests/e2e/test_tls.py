"""TLS for clients: what is spoken, whose certificate is asked for, and how a renewed one takes effect."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from gateway.cli.certificate import Certificate, Files
from gateway.errors import StartupFault
from gateway.money.keys import DEMO_KEY
from gateway.settings import load_settings
from loadtests.children import CRADLE
from loadtests.stack import DEMO_POLICIES, ROOT, Gateway, free_port
from tests.certificates import Authority, Pair, encrypted
from tests.commands import ran
from tests.gateways import eventually

HOST = "127.0.0.1"
OURS = {"Authorization": f"Bearer {DEMO_KEY}", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def shown(authority: Authority) -> Pair:
    return authority.issue("shown")


@contextlib.contextmanager
def gateway_with(place: Path, log: Path, env: Mapping[str, str]) -> Iterator[Gateway]:
    """One that speaks TLS, once it listens."""
    port = free_port()
    values = {**os.environ, "GATEWAY_POLICIES": str(DEMO_POLICIES), "GATEWAY_DATA_DIR": str(place), **env}
    with log.open("ab") as stderr:
        process = CRADLE.spawn("gateway", ["serve", "--port", str(port)], cwd=ROOT, env=values, stderr=stderr)
    with Gateway(process, f"https://localhost:{port}") as gateway:
        eventually(lambda: listens(port) or process.poll() is not None, "it listens", 15)
        yield gateway


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
        return True
    return False


def trusting(authority: Authority, own: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.own.cert)
    if own is not None:
        context.load_cert_chain(own.cert, own.key)
    return context


def peer(port: int, context: ssl.SSLContext, name: str | None = "localhost") -> bytes:
    """SHA-256 of the certificate that is shown; without a `name` none is asked for."""
    context.check_hostname = name is not None
    with (
        socket.create_connection((HOST, port), 5) as sock,
        context.wrap_socket(sock, server_hostname=name) as secured,
    ):
        return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").digest()


def digest(pair: Pair) -> bytes:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.cert.read_text())).digest()


def port_of(gateway: Gateway) -> int:
    return int(gateway.url.rpartition(":")[2])


@pytest.mark.parametrize("processes", [1, 2])
def test_it_is_spoken_and_a_renewed_certificate_is_shown(
    tmp_path: Path, authority: Authority, shown: Pair, processes: int
) -> None:
    mine, log = Pair(tmp_path / "tls.crt", tmp_path / "tls.key"), tmp_path / "log"
    shutil.copy(shown.cert, mine.cert)
    shutil.copy(shown.key, mine.key)
    env = {"GATEWAY_TLS_CERT": str(mine.cert), "GATEWAY_TLS_KEY": str(mine.key), "GATEWAY_WORKERS": str(processes)}
    with gateway_with(tmp_path / "data", log, env) as gateway:
        port = port_of(gateway)
        with httpx.Client(verify=trusting(authority), headers=OURS, trust_env=False, timeout=10) as client:
            assert client.get(f"{gateway.url}/healthz").status_code == 200
            page = client.get(f"{gateway.url}/openapi.json")
            assert len(page.content) > 10_000
            refused = client.post(f"{gateway.url}/v1/chat/completions", content=b"{" * 100)
            assert refused.status_code == 400
            too_large = client.post(f"{gateway.url}/v1/chat/completions", content=b" " * (21 << 20))
            assert too_large.status_code == 413, "and it arrives though the caller still sends"
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://{HOST}:{port}/healthz", trust_env=False)
        renewed = authority.issue(f"renewed-{processes}")
        shutil.copy(renewed.cert, mine.cert)
        gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: "certificate refused" in log.read_text(), "half of it is refused")
        assert peer(port, trusting(authority)) == digest(shown)
        shutil.copy(renewed.key, mine.key)
        gateway.process.send_signal(signal.SIGHUP)
        for name in ("localhost", None):
            eventually(lambda name=name: peer(port, trusting(authority), name) == digest(renewed), "the new one")  # type: ignore[misc]
        assert f"gateway on https://{HOST}:{port}" in log.read_text()
        assert gateway.stop() == 0


def test_nothing_older_than_1_2_and_no_silent_connection(tmp_path: Path, authority: Authority, shown: Pair) -> None:
    env = {
        "GATEWAY_TLS_CERT": str(shown.cert),
        "GATEWAY_TLS_KEY": str(encrypted(shown.key)),
        "GATEWAY_TLS_KEY_PASSWORD": "open sesame",
        "GATEWAY_HEAD_SECONDS": "0.3",
    }
    with gateway_with(tmp_path / "data", tmp_path / "log", env) as gateway:
        old = trusting(authority)
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            peer(port_of(gateway), old)
        two = trusting(authority)
        two.maximum_version = ssl.TLSVersion.TLSv1_2
        assert peer(port_of(gateway), two) == digest(shown)
        with socket.create_connection((HOST, port_of(gateway)), 5) as silent:
            silent.settimeout(5)
            assert silent.recv(1) == b"", "who does not begin a handshake is given up"
        assert "open sesame" not in (tmp_path / "log").read_text()


def test_a_client_must_show_a_certificate_of_its_authority(tmp_path: Path, authority: Authority, shown: Pair) -> None:
    old, new = Authority.make(tmp_path, "old"), Authority.make(tmp_path, "new")
    before, after = old.issue("before"), new.issue("after")
    trusted = tmp_path / "clients.pem"
    shutil.copy(old.own.cert, trusted)
    env = {
        "GATEWAY_TLS_CERT": str(shown.cert),
        "GATEWAY_TLS_KEY": str(shown.key),
        "GATEWAY_TLS_CLIENT_CA": str(trusted),
    }

    def passes(own: Pair | None) -> bool:
        context = trusting(authority, own)
        try:
            return httpx.get(f"{gateway.url}/healthz", verify=context, trust_env=False).status_code == 200
        except (httpx.TransportError, ssl.SSLError):
            return False

    with gateway_with(tmp_path / "data", tmp_path / "log", env) as gateway:
        assert [passes(None), passes(before), passes(after)] == [False, True, False]
        shutil.copy(new.own.cert, trusted)  # found without a signal
        eventually(lambda: passes(after), "the new authority", 10)
        assert not passes(before), "the old one is trusted no more"


def opened(files: Files | None) -> Certificate:
    assert files is not None
    return Certificate(files)


BROKEN = [
    ({"cert": "shown.pem"}, "GATEWAY_TLS_CERT and GATEWAY_TLS_KEY belong together"),
    ({"clients": "authority.pem"}, "GATEWAY_TLS_CLIENT_CA needs GATEWAY_TLS_CERT"),
    ({"cert": "nowhere", "key": "shown.key"}, "cannot be read (No such file or directory)"),
    ({"cert": "shown.pem", "key": "authority.key"}, "is not the private key of the certificate"),
    ({"cert": "shown.key", "key": "shown.key"}, "must be PEM"),
    ({"cert": "shown.pem", "key": "locked.key"}, "needs GATEWAY_TLS_KEY_PASSWORD"),
    ({"cert": "shown.pem", "key": "shown.key", "clients": "shown.key"}, "GATEWAY_TLS_CLIENT_CA cannot be read as PEM"),
]
NAMES = {"cert": "tls_cert", "key": "tls_key", "clients": "tls_client_ca"}


@pytest.mark.parametrize(("given", "said"), BROKEN, ids=[row[1] for row in BROKEN])
def test_what_cannot_be_used_is_told(authority: Authority, shown: Pair, given: dict[str, str], said: str) -> None:
    (authority.folder / "locked.key").write_bytes(encrypted(shown.key).read_bytes())
    settings = load_settings(**{NAMES[name]: authority.folder / file for name, file in given.items()})
    with pytest.raises(StartupFault) as fault:
        opened(Files.of(settings))
    assert said in str(fault.value)


def test_no_gateway_starts_without_the_certificate_that_it_was_given(tmp_path: Path) -> None:
    for processes in ("1", "2"):
        env = {**os.environ, "GATEWAY_TLS_CERT": "nowhere", "GATEWAY_TLS_KEY": "nowhere", "GATEWAY_WORKERS": processes}
        done = ran("serve", "--port", "0", "--policies", DEMO_POLICIES, env=env)
        assert (done.returncode, done.stderr.count("GATEWAY_TLS_CERT")) == (2, 1), done.stderr
