"""Uploads that go wrong: on the client's side, on the worker's, or because they are none."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from loadtests.uploads.client import BLOCK, BOUNDARY, END, FILE, answer, connect, field, head
from loadtests.uploads.listener import Act
from loadtests.uploads.memory import watched
from loadtests.uploads.site import KEY, Site
from tests.gateways import eventually
from tests.uploads.asking import SOUND, form, parts, post, quiet, receipt, spent
from tests.uploads.conftest import MOST_BYTES

REFUSED = Act(
    status=413, body=b'{"error":{"message":"too long for me","type":"invalid_request_error"}}', answer_after=1
)
MIB = 1 << 20
MOST_BETWEEN = 24 * MIB
"""What kernels and event loops on three loopback connections hold, several times over."""


def told(body: bytes) -> tuple[str | None, str]:
    error = json.loads(body)["error"]
    return error["param"], error["code"]


def test_it_is_routed_as_soon_as_the_file_begins(site: Site) -> None:
    raw = form("ears")
    with connect(site.gateway.url) as sock:
        sock.sendall(head(KEY, len(raw)))
        sock.sendall(raw[: len(raw) // 2])
        eventually(lambda: site.play.heard and site.play.heard[0].size > len(raw) // 4, "half of it is there")
        sock.sendall(raw[len(raw) // 2 :])
        assert answer(sock).status == 200
    assert parts(site.play.heard[0])["file"][1] == SOUND


def test_a_worker_that_stands_still_holds_its_client_back(site: Site) -> None:
    site.play.acts.append(Act(stall_after=1))
    with connect(site.gateway.url) as sock, watched(site.gateway.pid) as growth:
        size = 64 * MIB
        rest = b"\r\n" + END
        front = field("model", "slow") + FILE
        sock.sendall(head(KEY, len(front) + size + len(rest)) + front)
        sock.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += sock.send(BLOCK[: min(len(BLOCK), size - sent)])
        assert sent < MOST_BETWEEN
        site.play.resume.set()
        sock.settimeout(20)
        for at in range(sent, size, len(BLOCK)):
            sock.sendall(BLOCK[: min(len(BLOCK), size - at)])
        sock.sendall(rest)
        assert answer(sock).status == 200
    assert growth.bytes < 8 * MIB
    assert site.play.heard[0].size > size


@pytest.mark.parametrize("first", [True, False], ids=["streamed", "by disk"])
def test_a_worker_that_refuses_early_is_heard(site: Site, first: bool) -> None:
    site.play.acts.append(REFUSED)
    refused = post(site, form("early", first=first, file=SOUND * 4))
    assert (refused.status, json.loads(refused.body)["error"]["message"]) == (413, "too long for me")
    assert len(site.play.heard) == 1
    quiet(site)


def test_a_streamed_upload_is_not_sent_again_once_bytes_of_it_have_left(site: Site) -> None:
    site.play.acts += [Act(status=503, body=b"{}", answer_after=1)] * 2
    refused = post(site, form("quad", file=SOUND * 4))
    assert (refused.status, told(refused.body)[1]) == (503, "no_capacity")
    assert len(site.play.heard) == 1
    assert len(receipt(site, refused.headers["x-request-id"])["attempts"]) == 1
    quiet(site)


def test_a_worker_that_dies_meanwhile(site: Site) -> None:
    site.play.acts.append(Act(die_after=MIB))
    failed = post(site, form("dies", file=SOUND * 4))
    assert failed.status in (502, 503)
    told_of = receipt(site, failed.headers["x-request-id"])
    assert [one["result"] for one in told_of["attempts"]] == ["Reset"]
    assert told_of["cost"] is None
    quiet(site)


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_client_that_leaves_takes_its_upload_with_it(site: Site, reset: bool) -> None:
    raw = form("pair")
    with connect(site.gateway.url) as sock:
        sock.sendall(head(KEY, len(raw)) + raw[: len(raw) // 2])
        eventually(lambda: site.play.heard and site.play.heard[0].size, "the worker has some of it")
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: site.play.heard[0].how == "left", "the worker is left")
    assert len(site.play.heard) == 1
    quiet(site)


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_client_that_leaves_while_its_worker_takes_nothing(site: Site, reset: bool) -> None:
    site.play.acts.append(Act(stall_after=1))
    front = field("model", "slow") + FILE
    with connect(site.gateway.url) as sock:
        sock.sendall(head(KEY, len(front) + MOST_BYTES // 2) + front)
        sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                sock.send(BLOCK)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    quiet(site)  # its worker still stands still
    site.play.resume.set()
    eventually(lambda: site.play.heard[0].how == "left", "the worker is left")


def test_a_worker_that_stands_still_for_long_gets_every_byte(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read meanwhile lay on the disk."""
    site.play.acts.append(Act(stall_after=1))
    monkeypatch.setattr(site.play, "keep", 32 * MIB)
    file = random.Random(7).randbytes(MIB) * 24
    raw = form("slow", file=file)
    with connect(site.gateway.url) as sock, watched(site.gateway.pid) as growth:
        sock.sendall(head(KEY, len(raw)))
        sender = threading.Thread(target=sock.sendall, args=(raw,))
        sender.start()
        eventually(lambda: kept(site) > MIB, "some of it is on the disk")
        site.play.resume.set()
        sender.join()
        assert answer(sock).status == 200
    assert growth.bytes < 8 * MIB
    eventually(lambda: site.play.heard[0].how == "whole", "all is there")
    assert file in site.play.heard[0].body
    assert kept(site) == 0


def kept(site: Site) -> int:
    """Bytes of the files without a name that the gateway has open in its folder of uploads."""
    total = 0
    for one in Path(f"/proc/{site.gateway.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if "/uploads/" in os.readlink(one):
                total += one.stat().st_size
    return total


def test_half_a_form_is_not_paid_for(site: Site) -> None:
    raw, before = form("bought"), spent(site)
    with connect(site.gateway.url) as sock:
        sock.sendall(head(KEY, len(raw)) + raw[: len(raw) // 2])
        eventually(lambda: site.play.heard and site.play.heard[0].size, "the API has some of it")
    eventually(lambda: site.play.heard[0].how == "left", "the API is left")
    quiet(site)
    assert spent(site) == before
    assert post(site, raw).status == 200
    assert spent(site) > before


def test_a_client_that_stands_still_is_sent_away(site: Site) -> None:
    raw = form("ears")
    with connect(site.gateway.url) as sock:
        sock.sendall(head(KEY, len(raw)) + raw[: len(raw) // 2])
        refused = answer(sock)
    assert (refused.status, told(refused.body)[1]) == (400, "invalid_request")
    assert [one["result"] for one in receipt(site, refused.headers["x-request-id"])["attempts"]] == ["bad_upload"]
    eventually(lambda: site.play.heard[0].how == "left", "the worker is left")
    quiet(site)


def test_a_deadline_ends_an_upload(site: Site) -> None:
    raw, began = form("ears"), time.monotonic()
    with connect(site.gateway.url) as sock:
        sock.sendall(head(KEY, len(raw), more="X-Gateway-Deadline-Ms: 300\r\n") + raw[: len(raw) // 2])
        late = answer(sock)
    assert late.status == 504, late.body
    assert time.monotonic() - began < 1.4
    quiet(site)


@pytest.mark.parametrize(
    ("raw", "param", "sent"),
    [
        (form("ears")[: -len(END)] + b"--" + BOUNDARY, None, 1),
        (form("ears", behind=field("model", "ears")), "model", 1),
        (form("ears", behind=field("metadata[data_residency]", "local")), "metadata", 1),
        (form("ears", behind=field("prompt", "x" * 70_000)), "prompt", 1),
        (form("ears", behind=field("service_tier", "priority")), "service_tier", 1),
        (form("ears", more=field("prompt", "a"), behind=field("prompt", "b")), "prompt", 1),
        (form("ears", behind=field("prompt", "a") + field("prompt", "b")), "prompt", 1),
        (form("ears", behind=FILE + b"x\r\n"), "file", 1),
        (form(None), "model", 0),
        (form(""), "model", 0),
        (field("model", "ears") + END, "file", 0),
        (form("ears", more=field("stream", "perhaps")), "stream", 0),
        (form("ears", more=field("model", "ears")), "model", 0),
        (form("ears", more=field("prompt", "x" * 70_000)), "prompt", 0),
        (form("ears", more=field("metadata[data_residency]", "moon")), "metadata.data_residency", 0),
        (form("ears", more=field("metadata", "{")), "metadata", 0),
        (form("ears").replace(b'"a.wav"', b'"../a.wav"'), "file", 0),
        (form("ears", first=False).replace(b'"a.wav"', b'"/a.wav"'), "file", 0),
        (END, "file", 0),
        (b"", None, 0),
        (b"hello", None, 0),
    ],
)
def test_what_is_no_such_form_is_refused_and_its_field_named(
    site: Site, raw: bytes, param: str | None, sent: int
) -> None:
    refused = post(site, raw)
    assert refused.status == 400, refused.body
    assert told(refused.body)[0] == param
    assert len(site.play.heard) <= sent  # the worker may be left before it has looked
    assert all(one.how in ("left", "") for one in site.play.heard)
    receipt(site, refused.headers["x-request-id"])
    quiet(site)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("application/json", 415), ("multipart/form-data", 400), ("multipart/form-data; boundary=", 400)],
)
def test_a_body_of_another_kind(site: Site, kind: str, status: int) -> None:
    raw = form("ears")
    lines = head(KEY, len(raw)).replace(b"multipart/form-data; boundary=" + BOUNDARY, kind.encode())
    with connect(site.gateway.url) as sock:
        sock.sendall(lines + raw)
        refused = answer(sock)
    assert (refused.status, told(refused.body)[0]) == (status, "Content-Type")


def test_a_compressed_form_is_refused(site: Site) -> None:
    refused = post(site, form("ears"), more="Content-Encoding: gzip\r\n")
    assert (refused.status, told(refused.body)[0]) == (415, "Content-Encoding")


@pytest.mark.parametrize("first", [True, False], ids=["streamed", "by disk"])
def test_more_than_the_cap_is_refused_before_and_while_it_comes(site: Site, first: bool) -> None:
    raw = form("ears", first=first)
    with connect(site.gateway.url) as sock:
        sock.sendall(head(KEY, MOST_BYTES + 1) + raw)
        assert answer(sock).status == 413
    assert site.play.heard == []
    with connect(site.gateway.url) as sock:
        before = (field("model", "ears") if first else b"") + FILE
        sock.sendall(head(KEY, None) + b"%x\r\n%b\r\n" % (len(before), before))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(MOST_BYTES // MIB + 1):
                sock.sendall(b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK))
        refused = answer(sock)
    assert (refused.status, told(refused.body)[0]) == (413, "file")
    quiet(site)


@pytest.mark.parametrize(
    ("key", "more", "status"), [("nobody", "", 401), (KEY, "X-Data-Residency: moon\r\n", 400)], ids=["key", "residency"]
)
def test_a_caller_who_is_refused_anyway_is_not_read(site: Site, key: str, more: str, status: int) -> None:
    with connect(site.gateway.url) as sock:
        sock.sendall(head(key, 1000, more="Expect: 100-continue\r\n" + more))
        assert answer(sock).status == status  # http.client passes over a 100 that came before
    assert site.play.heard == []


def test_a_demand_is_met_before_the_file_is_read(site: Site) -> None:
    with connect(site.gateway.url) as sock:
        front = field("model", "bought") + FILE
        sock.sendall(head(KEY, MIB, more="X-Data-Residency: local\r\n") + front)
        refused = answer(sock)
    assert (refused.status, told(refused.body)[1]) == (403, "residency_refused")
    assert site.play.heard == []
