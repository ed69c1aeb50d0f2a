"""Requests, answers, peers' files, and what the bench says where a program is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.policy.live import LivePolicy
from loadtests.bench import __main__ as bench
from loadtests.bench import wire
from loadtests.bench.load import closed_loop, open_loop
from loadtests.bench.peers import PEERS, MissingProgram, launch, nginx_conf
from loadtests.bench.policy import many_rules, whole_policy
from loadtests.bench.upstream import GAPLESS
from loadtests.stack import StackFault, free_port


@pytest.mark.parametrize("size", [2_000, 200_000])
def test_a_body_has_the_size_it_is_called_by(size: int) -> None:
    head, _, body = wire.request(size).partition(b"\r\n\r\n")
    assert len(body) == size == wire.length(head.lower())
    assert json.loads(body)["model"] == wire.MODEL


def test_marks_tell_the_kinds_of_request_apart() -> None:
    plain, stream, gap = wire.request(500), wire.request(500, stream=True), wire.request(500, stream=True, gap=True)
    assert [wire.STREAM_MARK in sent for sent in (plain, stream, gap)] == [False, True, True]
    assert [wire.GAP_MARK in sent for sent in (plain, stream, gap)] == [False, False, True]


@pytest.mark.parametrize("answer", [wire.answer(), GAPLESS])
def test_an_answer_is_whole_at_its_last_byte_and_not_before(answer: bytes) -> None:
    cuts = [*range(0, len(answer), 97), len(answer) - 1]
    assert not any(wire.whole(answer[:cut]) for cut in cuts)
    assert wire.whole(answer)


def test_a_stream_has_its_events() -> None:
    assert GAPLESS.count(b"data: ") == wire.EVENTS
    assert b'"usage":{' in GAPLESS


def test_the_policy_compiles_with_everything_on(tmp_path: Path) -> None:
    whole_policy(tmp_path, 9)
    policy = LivePolicy(tmp_path).current
    chat = policy.rules[-1]
    assert policy.keys
    assert chat.slo.ttft == 1.0
    assert chat.spill is not None
    assert {one.url for one in policy.upstreams.values()} == {"http://127.0.0.1:9", "http://127.0.0.1:9/v1"}


def test_many_rules_of_which_the_last_matches(tmp_path: Path) -> None:
    many_rules(tmp_path, 2, 8, 20)
    policy = LivePolicy(tmp_path).current
    assert len(policy.rules) == 20
    assert len(policy.upstreams) == 16
    assert [rule.match.model for rule in policy.rules].index((f"{wire.MODEL}*",)) == 19


def test_nginx_keeps_connections_and_buffers_no_stream(tmp_path: Path) -> None:
    conf = nginx_conf(tmp_path, 81, 82, root=False)
    assert conf.count("{") == conf.count("}")
    for line in (
        "listen 127.0.0.1:81;",
        "server 127.0.0.1:82;",
        "keepalive 64;",
        "proxy_buffering off;",
        "tcp_nodelay on;",
    ):
        assert line in conf
    assert "user root;" not in conf
    assert "user root;" in nginx_conf(tmp_path, 81, 82, root=True)


def test_a_missing_program_is_named_and_exits_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(folder: Path, upstream: int) -> None:
        raise MissingProgram("nginx is not installed: apt-get install nginx")

    monkeypatch.setattr(PEERS["nginx"], "start", missing)
    monkeypatch.setattr(bench, "timed", lambda _: {})
    assert bench.main(["--peers", "nginx"]) == 2
    assert "apt-get install nginx" in capsys.readouterr().err


def test_an_unknown_peer_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(["--peers", "direct,other"])
    assert ended.value.code == 2
    assert "unknown: other; there are direct, " in capsys.readouterr().err


def test_a_child_that_ends_at_once_says_why(tmp_path: Path) -> None:
    with pytest.raises(StackFault, match="no room"):
        launch(["/bin/sh", "-c", "echo no room >&2; exit 3"], tmp_path, free_port())


async def test_the_client_counts_good_and_bad_answers_of_the_real_upstream(tmp_path: Path) -> None:
    upstream = bench.start_upstream(tmp_path)
    try:
        plain = await closed_loop(upstream.port, wire.request(500), events=0, wires=2, seconds=0.05)
        stream = await closed_loop(
            upstream.port, wire.request(500, stream=True), events=wire.EVENTS, wires=2, seconds=0.05
        )
        wrong = await closed_loop(upstream.port, wire.request(500), events=1, wires=1, seconds=0.05)
        paced = await open_loop(upstream.port, wire.request(500), rate=200.0, seconds=0.1)
    finally:
        upstream.stop()
    assert plain.failures == stream.failures == paced.failures == 0
    assert len(plain.latencies) > 1
    assert len(stream.latencies) > 1
    assert len(paced.latencies) == 20
    assert wrong.failures > 0
    assert wrong.why == "HTTP/1.1 200 OK"
