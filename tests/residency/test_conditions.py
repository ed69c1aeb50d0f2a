"""A condition on the live fleet may give a retry to another rule: where its data may go was settled before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

from gateway.model import Match
from gateway.store.embedded import Embedded
from loadtests.residency.memory import Loop, Mood, running_loop
from loadtests.residency.oracle import Ask, Backend, Rule, World
from loadtests.residency.rig import rig
from loadtests.residency.traffic import Sent
from loadtests.residency.worlds import KEYS, MODELS, TENANTS, as_policy

HOME, ABROAD = "10.0.0.1", "10.0.0.2"
WORLD = World(
    "v",
    {"eu": (), "us": ()},
    (
        Backend("gpu", True, "eu", (), ("10.0.0.0/8",), (HOME,)),
        Backend("cloud", False, "us", (), (), (ABROAD,)),
    ),
    dict.fromkeys(MODELS, ()),
    dict.fromkeys(TENANTS, ()),
    (
        Rule("eu", {}, ("gpu",), (), (), ("eu",)),
        Rule("all", {}, ("cloud",), (), (), ()),
    ),
)
SENT = Sent(
    Ask("qwen", "acme", (), "standard", False, "completions"),
    [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + KEYS["acme"].encode())],
    "/v1/completions",
    b'{"model":"qwen","prompt":"x","max_tokens":1}',
)


class Once:
    """Holds the first time it is asked, as a condition does whose reading changes."""

    source, reads, headers = "once", frozenset[str](), frozenset[str]()

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, facts: Mapping[str, Mapping[str, object]]) -> bool:
        self.asked += 1
        return self.asked == 1


class Far:
    """Fails whatever it gets."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    def connect(self, host: str) -> str | None:
        return host

    def received(self, host: str, peer: str, data: bytes) -> Mood:
        self.reached.append(host)
        return 500


async def reached(place: Path, embedded: Embedded) -> tuple[list[str], int]:
    policy = as_policy(WORLD, Random(1), "w")
    once, (eu, rest) = Once(), policy.rules
    eu = replace(eu, match=Match(when=once), attempts=3)
    far = running_loop().far = Far()
    async with rig(place, embedded, replace(policy, rules=(eu, replace(rest, attempts=3))), Random(1)) as made:
        await made.call(SENT, lambda: None)
    return far.reached, once.asked


def test_a_retry_under_another_rule_stays_where_the_first_one_kept_it(tmp_path: Path, own_server: Embedded) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        hosts, asked = runner.run(reached(tmp_path, own_server))
    assert hosts == [HOME]
    assert asked > 1, "the retry was decided anew"
