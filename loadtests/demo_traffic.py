"""What `make demo` sends: the waves of scenarios/waves.yaml, one after the other, until it is ended.

Open loop and bounded: a request is sent when it is due, or never, where MOST_IN_FLIGHT are under way. Nothing is judged
here; that is what `make load` is for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import time
from pathlib import Path

import httpx

from loadtests.load.asks import LOCAL, PATHS, body
from loadtests.load.plan import Kind, Plan
from loadtests.load.prepare import prepare
from loadtests.stack import DEMO_POLICIES

WAVES = "waves"
MOST_IN_FLIGHT = 200
"""The fleet has 64 seats for text; a wave holds some 110."""
SILENCE_SECONDS = 120.0
"""A picture that waits for a worker says nothing meanwhile."""


def main() -> None:
    made = argparse.ArgumentParser(prog="python -m loadtests.demo_traffic", description=__doc__)
    made.add_argument("--url", required=True)
    made.add_argument("--policies", type=Path, default=DEMO_POLICIES, help="the folder of the gateway at that address")
    arguments = made.parse_args()
    asyncio.run(send(arguments.url, arguments.policies, os.environ.get("GATEWAY_KEY") or "demo"))


async def send(url: str, policies: Path, key: str) -> None:
    """Without end. Raises what `prepare` raises."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=MOST_IN_FLIGHT)
    async with (
        httpx.AsyncClient(
            base_url=url, headers=headers, limits=limits, timeout=SILENCE_SECONDS, trust_env=False
        ) as http,
        asyncio.TaskGroup() as asked,
    ):
        open_now: set[asyncio.Task[None]] = set()
        for seed in itertools.count(1):
            plan = prepare(WAVES, seed=seed, policies=policies).plan
            began = time.monotonic()
            for number, job in enumerate(plan.jobs):
                await asyncio.sleep(began + job.due - time.monotonic())
                if len(open_now) < MOST_IN_FLIGHT:
                    task = asked.create_task(ask(http, plan, number))
                    open_now.add(task)
                    task.add_done_callback(open_now.discard)


async def ask(http: httpx.AsyncClient, plan: Plan, number: int) -> None:
    """One request, read to its end as fast as it comes. A film's end is the gateway's own affair."""
    job = plan.jobs[number]
    kind: Kind = plan.kinds[job.kind]
    content, headers = body(kind, job, number), LOCAL if job.flagged else {}
    with contextlib.suppress(httpx.HTTPError):  # refusals too are something to look at
        async with http.stream("POST", PATHS[kind.kind], content=content, headers=headers) as answer:
            async for _ in answer.aiter_raw():
                pass


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
