"""The `tls` of a backend: which files are no good and what is said of them, and how a changed one takes effect."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gateway.errors import PolicyFault
from gateway.policy.compile import compile_folder
from gateway.policy.live import LivePolicy
from tests.certificates import Authority, encrypted

from .good import ENV, GOOD, faults_of

HERE = "backends.yaml:5:5"
LINE = "    tls: {{ca: {ca}, cert: {cert}, key: {key}}}\n"
SOUND = {"ca": "ca.pem", "cert": "us.pem", "key": "us.key"}
URLS = {"http://10.20.0.11:8000": "https://10.20.0.11:8000", "http://10.20.0.12:8000/": "https://10.20.0.12:8000/"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound ones, and one of each kind that is not."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.make(folder, "ca")
    ours, other = authority.issue("us"), authority.issue("other")
    encrypted(ours.key)
    (folder / "text.pem").write_text("no such thing\n")
    (folder / "empty.pem").write_text("")
    (folder / "torn.pem").write_text(ours.cert.read_text()[:200])
    (folder / "torn.key").write_text(other.key.read_text()[:100])
    (folder / "huge.pem").write_bytes(b"x" * ((1 << 20) + 1))
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    for name in SOUND.values():
        shutil.copy(files / name, tmp_path)
    for name, text in secured().items():
        (tmp_path / name).write_text(text)
    return tmp_path


def secured(line: str = LINE.format(**SOUND)) -> dict[str, str]:
    """GOOD with https workers and `line` as their backend's `tls`."""
    text = GOOD["backends.yaml"].replace("    zone: fra\n", f"    zone: fra\n{line}", 1)
    for plain, secure in URLS.items():
        text = text.replace(plain, secure)
    return {**GOOD, "backends.yaml": text}


BROKEN = [
    ({"ca": "nowhere.pem"}, "8:15", "ca", "cannot be read; check path and permissions"),
    ({"ca": "pipe"}, "8:15", "ca", "cannot be read; check path and permissions"),
    ({"ca": "huge.pem"}, "8:15", "ca", "cannot be read; check path and permissions"),
    ({"ca": "."}, "8:15", "ca", "cannot be read; check path and permissions"),
    ({"ca": '"a\\0b"'}, "8:15", "ca", "cannot be read; check path and permissions"),
    ({"ca": "text.pem"}, "8:15", "ca", "holds no certificate; it must be PEM (BEGIN CERTIFICATE)"),
    ({"ca": "us.key"}, "8:15", "ca", "holds no certificate; it must be PEM (BEGIN CERTIFICATE)"),
    ({"ca": "torn.pem"}, "8:15", "ca", "holds no certificate; it must be PEM (BEGIN CERTIFICATE)"),
    ({"cert": "nowhere.pem"}, "8:29", "cert", "cannot be read; check path and permissions"),
    ({"cert": "empty.pem"}, "8:29", "cert", "holds no certificate; it must be PEM (BEGIN CERTIFICATE)"),
    ({"cert": "us.key"}, "8:29", "cert", "holds no certificate; it must be PEM (BEGIN CERTIFICATE)"),
    ({"key": "nowhere.key"}, "8:42", "key", "cannot be read; check path and permissions"),
    ({"key": "other.key"}, "8:42", "key", "is not the private key of the certificate in `cert`"),
    *(
        ({"key": key}, "8:42", "key", "holds no private key; it must be PEM (BEGIN PRIVATE KEY), without a passphrase")
        for key in ("us.pem", "torn.key", "us.locked", "text.pem")
    ),
]


@pytest.mark.parametrize(("names", "place", "key", "said"), BROKEN, ids=[str(row[0]) for row in BROKEN])
def test_a_file_that_is_no_good(files: Path, names: dict[str, str], place: str, key: str, said: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        compile_in(files, secured(LINE.format(**(SOUND | names))))
    assert caught.value.faults == (f"backends.yaml:{place}: backends[0].tls.{key}: {said}",)


def compile_in(files: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (files / name).write_text(text)
    compile_folder(files, ENV)


SHAPES = [
    ("    tls: {cert: us.pem}\n", ["8:10: backends[0].tls: must set both `cert` and `key`, or neither"]),
    ("    tls: {ca: a, key: us.key}\n", ["8:10: backends[0].tls: must set both `cert` and `key`, or neither"]),
    (
        "    tls: {}\n",
        ["8:10: backends[0].tls: must set `ca`, or `cert` and `key`, or `server_name`, or several of them"],
    ),
    ('    tls: {ca: ""}\n', ["8:15: backends[0].tls.ca: must not be empty"]),
    ("    tls: {ca: 7}\n", ["8:15: backends[0].tls.ca: must be text; put it in quotes"]),
    ("    tls: ca.pem\n", ["8:10: backends[0].tls: must be a mapping of keys to values"]),
    (
        "    tls: {cafile: ca.pem}\n",
        ["8:11: backends[0].tls.cafile: unknown key `cafile`; known here: ca, cert, key, server_name"],
    ),
]


@pytest.mark.parametrize(("line", "faults"), SHAPES, ids=[row[0].strip() for row in SHAPES])
def test_a_shape_that_is_no_good(line: str, faults: list[str]) -> None:
    assert faults_of(secured(line), env=None) == [f"backends.yaml:{fault}" for fault in faults]


def test_https_addresses_only() -> None:
    text = secured()["backends.yaml"].replace("https://10.20.0.12", "http://10.20.0.12")
    said = "backends[0].upstreams[1].url: must begin with https://: this backend has `tls`"
    assert faults_of({**GOOD, "backends.yaml": text}, env=None) == [f"backends.yaml:21:14: {said}"]


def test_where_secrets_are_not_wanted_the_files_are_not_needed(folder: Path) -> None:
    (folder / "us.key").unlink()
    assert compile_folder(folder, env=None).upstreams["h100-1"].tls is None


def test_the_material_is_the_backends_own_and_stays_out_of_sight(folder: Path) -> None:
    policy = compile_folder(folder, ENV)
    assert policy.upstreams["h100-1"].tls is policy.upstreams["h100-2"].tls is not None
    assert policy.upstreams["gmi"].tls is None
    assert "tls" not in repr(policy).lower()


def test_what_the_files_hold_is_not_part_of_the_version(files: Path, folder: Path) -> None:
    assert compile_folder(folder, ENV) == compile_folder(folder, ENV)
    version = compile_folder(folder, ENV).version
    shutil.copy(files / "other.pem", folder / "us.pem")
    shutil.copy(files / "other.key", folder / "us.key")
    assert compile_folder(folder, ENV).version == version


async def test_a_changed_file_takes_effect_by_itself(files: Path, folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    before = live.current
    assert not await live.poll()
    shutil.copy(files / "other.key", folder / "us.key")
    assert not await live.poll(), "one of two"
    assert live.current is before
    assert live.fault is not None
    assert "is not the private key" in live.fault[0]
    shutil.copy(files / "other.pem", folder / "us.pem")
    assert await live.poll()
    assert live.fault is None
    after = live.current.upstreams["h100-1"]
    assert after.tls != before.upstreams["h100-1"].tls
    assert live.current.version == before.version
    assert not await live.poll()


async def test_a_file_that_went_away_does_no_harm(folder: Path) -> None:
    live = LivePolicy(folder, ENV)
    before = live.current
    (folder / "ca.pem").rename(folder / "elsewhere.pem")
    assert not await live.poll()
    assert live.current is before
    (folder / "elsewhere.pem").rename(folder / "ca.pem")
    assert not await live.poll(), "the same again"
    assert live.fault is None
