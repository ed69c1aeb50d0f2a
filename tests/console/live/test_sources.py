"""The hour as the feed tells it, also to who comes after a while without viewers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from gateway.console.live.sources import RUNNING_MINUTES, Sources
from gateway.console.live.spells import Spells
from gateway.edge.services import Services
from gateway.flow import MINUTE_SECONDS, MINUTES, Flow
from gateway.store.connection import Store

BEGIN = 1_700_000_040 // MINUTE_SECONDS * MINUTE_SECONDS


class Clock:
    now = float(BEGIN)

    def __call__(self) -> float:
        return self.now


async def served(flow: Flow, times: int) -> None:
    for _ in range(times):
        flow.heard({"rule": "chat", "outcome": "local", "times": {}})
    await flow.flush()


async def told(sources: Sources, minute: int) -> Any:
    return (await sources.flow())[minute].get("chat", {}).get("local", 0)


async def test_a_minute_that_was_half_read_when_the_last_viewer_left_is_read_again(valkey: Store) -> None:
    clock = Clock()
    flow = Flow(valkey, "a", [0.1], clock)
    services = cast("Services", SimpleNamespace(flow=flow))
    sources = Sources(services, Spells())
    await served(flow, 1)
    assert await told(sources, BEGIN) == 1
    clock.now += 30
    await served(flow, 5)  # nobody looks
    for minutes in range(RUNNING_MINUTES, RUNNING_MINUTES + 3):
        clock.now = BEGIN + minutes * MINUTE_SECONDS
        assert await told(sources, BEGIN) == 6, "at the first look of whoever comes next"


async def test_minutes_that_grow_no_more_are_read_once_and_in_turn(valkey: Store) -> None:
    clock = Clock()
    flow = Flow(valkey, "a", [0.1], clock)
    asked: list[int] = []
    read = flow.read

    async def counted(minutes: list[int]) -> Any:
        asked.append(len(minutes))
        return await read(minutes)

    flow.read = counted  # type: ignore[method-assign,assignment]
    sources = Sources(cast("Services", SimpleNamespace(flow=flow)), Spells())
    for _ in range(3):
        await sources.flow()
    assert asked == [MINUTES, RUNNING_MINUTES + 1, RUNNING_MINUTES + 1]
