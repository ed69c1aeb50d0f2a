"""What looks for secrets must see them."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from gateway.store.embedded import Embedded
from tests.leaks import files_in, found, stored

SECRET = "gw-a/secret+of=the tests"


@pytest.mark.parametrize("before", [b"", b"x", b"ab", b"abc"])
def test_a_secret_is_seen_in_every_form(before: bytes) -> None:
    forms = {
        "plain": before + SECRET.encode(),
        "base64": base64.b64encode(before + SECRET.encode() + b"more"),
        "query": quote(SECRET, safe="").encode(),
        "packed": before + zlib.compress(b"a line with " + SECRET.encode()),
        "hex": SECRET.encode().hex().encode(),
    }
    assert found({"key": SECRET}, forms) == sorted(f"key in {name}" for name in forms)
    assert found({"key": SECRET[::-1]}, forms) == []


def test_every_kind_of_key_in_the_store_and_every_file_is_looked_at(embedded: Embedded, tmp_path: Path) -> None:
    with redis.Redis(unix_socket_path=embedded.url.removeprefix("unix://")) as client:
        client.flushall()
        client.set("a", SECRET)
        client.hset("b", SECRET, "x")
        client.hset("c", "x", SECRET)
        client.rpush("d", SECRET)
        client.sadd("e", SECRET)
        client.zadd("f", {SECRET: 1})
        client.xadd("g", {"x": SECRET})
        client.set(SECRET, "x")
        hits = found({"key": SECRET}, stored(client))
        client.flushall()
    assert hits == sorted(f"key in store {name}" for name in ("a", "b", "c", "d", "e", "f", "g", SECRET))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_text(SECRET)
    assert found({"key": SECRET}, files_in(tmp_path)) == ["key in file deep/log"]
