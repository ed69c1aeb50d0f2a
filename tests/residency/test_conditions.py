"""A condition on the live fleet may give a retry to another rule: where its data may go was settled before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from gateway.model import Match, Policy
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
    """Fails whatever it gets, or does as `mood` says."""

    def __init__(self, mood: Mood = 500) -> None:
        self.mood, self.reached = mood, list[str]()

    def connect(self, host: str) -> str | None:
        return host

    def received(self, host: str, peer: str, data: bytes) -> Mood:
        self.reached.append(host)
        return self.mood


async def reached(place: Path, embedded: Embedded) -> tuple[list[str], int]:
    policy = as_policy(WORLD, Random(1), "w")
    once, (eu, rest) = Once(), policy.rules
    eu = replace(eu, match=Match(when=once), attempts=3)
    far = running_loop().far = Far()
    async with rig(place, embedded, replace(policy, rules=(eu, replace(rest, attempts=3))), Random(1)) as made:
        await made.call(SENT, lambda _: None)
    return far.reached, once.asked


def test_a_retry_under_another_rule_stays_where_the_first_one_kept_it(tmp_path: Path, own_server: Embedded) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        hosts, asked = runner.run(reached(tmp_path, own_server))
    assert hosts == [HOME]
    assert asked > 1, "the retry was decided anew"


OTHER = "10.0.0.3"
LONG, HANGS, SHORT = 5.0, 0.4, 0.2
"""Seconds: a wait that is long enough, how long the first request hangs, a wait that is not."""
FIRST = SENT._replace(headers=[SENT.headers[0], (b"authorization", b"Bearer " + KEYS["globex"].encode())])
SECOND = SENT._replace(body=SENT.body.replace(b'"x"', b'"y"'))


class Switch:
    """Holds while it is on."""

    source, reads, headers = "switch", frozenset[str](), frozenset[str]()
    on = True

    def __call__(self, facts: Mapping[str, Mapping[str, object]]) -> bool:
        return self.on


@dataclass(frozen=True)
class Story:
    """The first request hangs on the only seat of `gpu`; a second one, which came under rule `a`, waits for it. Then
    `a` holds no more, and where `back` says so it does again as soon as the second one was delivered somewhere."""

    rules: tuple[Rule, Rule]
    reached: list[str]
    """By the second request, whose deliveries `gpu` answers with `then`."""
    audited: list[tuple[str, str, list[str]]]
    """Of the second request: upstream, rule and demand of each line `sent`."""
    then: Mood = "answer"
    back: bool = False
    wait: float = LONG


A = Rule("a", {}, ("gpu",), (), (), ())
STORIES = {
    "what the new rule keeps here is audited": Story(
        (A, Rule("b", {}, ("gpu",), (), (), ("local",))), [HOME], [(f"w-{HOME}", "b", ["local"])]
    ),
    "under the new rule it goes to the new rule's worker": Story(
        (A, Rule("b", {}, ("gpu2",), (), (), ("eu",))), [OTHER], [(f"w-{OTHER}", "b", ["eu"])]
    ),
    "without any demand too": Story((A, Rule("b", {}, ("gpu2",), (), (), ())), [OTHER], []),
    "what was demanded in the wait holds for the retry": Story(
        (replace(A, fallback=("cloud",)), Rule("b", {}, ("gpu",), (), (), ("eu",))),
        [HOME],
        [(f"w-{HOME}", "b", ["eu"])],
        then=500,
        back=True,
    ),
    "and when the wait was for nothing": Story(
        (replace(A, spill=("cloud",)), Rule("b", {}, ("gpu",), (), (), ("eu",))), [], [], wait=SHORT
    ),
    "and when the new rule refuses it": Story(
        (replace(A, spill=("cloud",)), Rule("b", {}, ("cloud",), (), (), ("eu",))), [], [], wait=SHORT
    ),
    "and when nobody is where it keeps it": Story(
        (replace(A, spill=("cloud",)), Rule("b", {}, ("gpu",), ("cloud",), (), ("eu", "us"))), [], [], wait=SHORT
    ),
}


class Hanging(Far):
    """The first request hangs, the second one finds what its story says."""

    def __init__(self, story: Story, switch: Switch) -> None:
        super().__init__()
        self._story, self._switch = story, switch
        self.held = asyncio.Event()

    def received(self, host: str, peer: str, data: bytes) -> Mood:
        if b'"y"' not in data:
            self.held.set()
            return "hang"
        self.reached.append(host)
        self._switch.on |= self._story.back
        return self._story.then if host == HOME else "answer"


def flipping(story: Story, switch: Switch) -> Policy:
    """The first of the story's rules as long as `switch` is on; `gpu` and `gpu2` have one seat each."""
    other = Backend("gpu2", True, "eu", (), ("10.0.0.0/8",), (OTHER,))
    made = as_policy(replace(WORLD, backends=(*WORLD.backends, other), rules=story.rules), Random(1), "w")
    backends = {
        name: tuple([replace(one, limit=1000, seats=1) if one.kind == "local" else one for one in group])
        for name, group in made.backends.items()
    }
    timeouts = replace(made.rules[0].timeouts, first_byte=HANGS, total=LONG)
    first, second = (replace(rule, max_wait=story.wait, attempts=3, timeouts=timeouts) for rule in made.rules)
    return replace(
        made,
        backends=backends,
        upstreams={one.name: one for group in backends.values() for one in group},
        rules=(replace(first, match=Match(when=switch)), replace(second, attempts=1) if story.back else second),
    )


async def played(story: Story, place: Path, embedded: Embedded) -> tuple[list[str], list[str | None]]:
    """Where the second request went, and why each upstream is out after it."""
    switch = Switch()
    far = running_loop().far = Hanging(story, switch)
    async with rig(place, embedded, flipping(story, switch), Still()) as made, asyncio.timeout(10):
        first = asyncio.create_task(made.call(FIRST, lambda _: None))
        await far.held.wait()
        second = asyncio.create_task(made.call(SECOND, lambda _: None))
        while not made.services.admission.lines.size("gpu"):  # noqa: ASYNC110 - admission signals no arrivals
            await asyncio.sleep(0.001)
        switch.on = False
        await asyncio.gather(first, second)
        return far.reached, [state.out for state in made.services.view.current.states.values()]


class Still(Random):
    """Nobody is late and nobody leaves."""

    def random(self) -> float:
        return 0.9


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_rule_that_changes_while_a_request_waits(story: Story, tmp_path: Path, own_server: Embedded) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        reached_hosts, out = runner.run(played(story, tmp_path, own_server))
    lines = [json.loads(line) for path in tmp_path.glob("chain-*") for line in path.read_text().splitlines()]
    sent = [line for line in lines if line["what"] == "sent"]
    told = [(line["upstream"], line["rule"], line["demand"]) for line in sent if line["tenant"] == "acme"]
    assert reached_hosts == story.reached
    assert told == story.audited
    assert set(out) == {None}, "nobody is paused for a rule that changed"
