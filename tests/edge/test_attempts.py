"""What counts as an attempt."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gateway.edge.account import MOST_UNREACHED, Attempt, left_of
from gateway.store.embedded import Embedded
from loadtests.residency.memory import Loop, Mood, running_loop
from loadtests.residency.oracle import Ask, Backend, Rule, World
from loadtests.residency.rig import rig
from loadtests.residency.traffic import Sent
from loadtests.residency.worlds import KEYS, MODELS, TENANTS, as_policy

REFUSED, ASKED = (Attempt("w", "id", 0.0, unreached=unreached) for unreached in (True, False))


@pytest.mark.parametrize(
    ("attempts", "left"),
    [
        ([], 3),
        ([ASKED] * 2, 1),
        ([ASKED] * 3, 0),
        ([ASKED, *[REFUSED] * 5, ASKED], 1),
        ([REFUSED] * (MOST_UNREACHED - 1), 3),
        ([REFUSED] * MOST_UNREACHED, 0),
    ],
)
def test_a_refused_connection_is_no_attempt_as_long_as_there_are_not_too_many(
    attempts: list[Attempt], left: int
) -> None:
    assert left_of(attempts, 3) == left


HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5")
WORLD = World(
    "v",
    {"eu": ()},
    (Backend("gpu", True, "eu", (), ("10.0.0.0/8",), HOSTS),),
    dict.fromkeys(MODELS, ()),
    dict.fromkeys(TENANTS, ()),
    (Rule("all", {}, ("gpu",), (), (), ()),),
)
SENT = Sent(
    Ask("qwen", "acme", (), "standard", False, "completions"),
    [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + KEYS["acme"].encode())],
    "/v1/completions",
    b'{"model":"qwen","prompt":"x","max_tokens":1}',
)


class Nobody:
    """Connections are refused, or lead to `peer`."""

    def __init__(self, peer: str | None) -> None:
        self._peer, self.tried = peer, list[str]()

    def connect(self, host: str) -> str | None:
        self.tried.append(host)
        return self._peer

    def received(self, host: str, peer: str, data: bytes) -> Mood:
        return 500


@pytest.mark.parametrize(("peer", "tried"), [(None, len(HOSTS)), ("192.0.2.1", 2)], ids=["refused", "not permitted"])
def test_only_a_refused_connection_is_none(peer: str | None, tried: int, tmp_path: Path, own_server: Embedded) -> None:
    async def called() -> list[str]:
        policy, far = as_policy(WORLD, Random(1), "w"), Nobody(peer)
        running_loop().far = far
        rules = tuple([replace(one, attempts=2) for one in policy.rules])
        async with rig(tmp_path, own_server, replace(policy, rules=rules), Random(1)) as made:
            await made.call(SENT, lambda _: None)
        return far.tried

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert len(runner.run(called())) == tried
