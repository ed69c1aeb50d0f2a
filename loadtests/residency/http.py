"""The same proof over HTTP: a real gateway process before the simulated fleet, whose journals are the witnesses."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import httpx

from loadtests.residency import oracle, site
from loadtests.residency.run import Tally
from loadtests.simfleet.harness import SimFleet, start
from loadtests.stack import start_gateway

AT_ONCE = 32
TROUBLE_EVERY = 60
"""Requests between two changes of what is wrong with the fleet, or of the policy."""
BOUGHT_FAULTS = ({"error_rate": 0.3}, {"error_rate": 0.5, "error_status": 503}, {"rpm": 60}, {"clear": True})
LOCAL_FAULTS = (
    *BOUGHT_FAULTS[:2],
    {"drop_mid_stream": 0.3},
    {"die": True},
    {"alive": True},
    {"slow": 4.0},
    {"clear": True},
)


def prove_http(place: Path, seed: int, count: int) -> Tally:
    """Raises StackFault or SimFault where it cannot begin."""
    worker = {"step_ms": 2.0, "per_seq_ms": 0.05, "per_prompt_token_ms": 0.0005, "gauge_lag_s": 0.0, "max_num_seqs": 4}
    api = {"ttft_median_s": 0.01, "tokens_per_s": 5000.0, "frames_per_s": 100.0}
    hosts = {
        kind: [h for one in site.WORLDS[0].backends if one.local is kind for h in one.hosts] for kind in (True, False)
    }
    with start(
        seed=seed,
        worker=worker,
        api=api,
        workers=[{"name": host} for host in hosts[True]],
        managed=[{"name": host} for host in hosts[False]],
    ) as fleet:
        urls = {server.name: server.url for server in (*fleet.workers, *fleet.managed)}
        folder = place / "policies"
        site.write(folder, site.WORLDS[0], urls)
        env = {"GATEWAY_KEY_PEPPER": site.PEPPER, "GATEWAY_LOG_LEVEL": "error"}
        with start_gateway(folder, place / "data", env=env, log=place / "gateway.log") as gateway:
            tally = asyncio.run(_ask(gateway.url, fleet, folder, urls, Random(seed), count))
        _judge(fleet, tally)
        return tally


async def _ask(url: str, fleet: SimFleet, folder: Path, urls: dict[str, str], rng: Random, count: int) -> Tally:
    tally, free = Tally(), asyncio.Semaphore(AT_ONCE)
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30.0, limits=limits) as http:

        async def one() -> None:
            try:
                tally.statuses[await _request(http, rng)] += 1
            finally:
                free.release()

        async with asyncio.TaskGroup() as together:
            for number in range(count):
                await free.acquire()
                if number % TROUBLE_EVERY == TROUBLE_EVERY - 1:
                    await asyncio.to_thread(_trouble, fleet, folder, urls, rng, tally)
                together.create_task(one())
    tally.counts["requests"] = count
    return tally


async def _request(http: httpx.AsyncClient, rng: Random) -> int:
    index = rng.randrange(len(site.ASKS))
    ask = site.ASKS[index]
    headers = {"authorization": f"Bearer {site.KEYS[ask.tenant]}", "x-gateway-priority": ask.priority}
    body: dict[str, Any] = {"model": ask.model, "prompt": site.prompt_of(index), "max_tokens": rng.choice((2, 20, 200))}
    texts = list(ask.texts)
    if texts and rng.random() < 0.4:
        body["metadata"] = {"data_residency": texts.pop()}
    sent = [*headers.items(), *[("x-data-residency", text) for text in texts]]
    body["stream"] = rng.random() < 0.4
    answer = await http.post(f"/v1/{site.ENDPOINT}", json=body, headers=sent)
    return answer.status_code


def _trouble(fleet: SimFleet, folder: Path, urls: dict[str, str], rng: Random, tally: Tally) -> None:
    what = rng.random()
    if what < 0.3:
        site.write(folder, rng.choice(site.WORLDS), urls)
        tally.counts["reloads"] += 1
    elif what < 0.7:
        fleet.config(rng.choice(fleet.workers).name, **rng.choice(LOCAL_FAULTS))
    else:
        fleet.config(rng.choice(fleet.managed).name, **rng.choice(BOUGHT_FAULTS))


def _judge(fleet: SimFleet, tally: Tally) -> None:
    """Every entry of every journal. One that either version of the policy allows is allowed: a journal does not tell
    which one its request began with."""
    seen: Counter[str] = tally.counts
    for server in (*fleet.workers, *fleet.managed):
        received = fleet.requests(server.name)
        if len(received) != fleet.state(server.name)["received"]:
            tally.forbidden.append(f"the journal of {server.name} is not whole")
            seen["forbidden"] += 1
        for entry in received:
            ask = site.ask_of(entry["prompt_tokens"])
            seen["deliveries"] += 1
            whys = [oracle.forbidden(world, ask, server.name, "127.0.0.1") for world in site.WORLDS]
            if all(whys):
                seen["forbidden"] += 1
                tally.forbidden.append(f"{ask} reached {server.name}: {whys[0]}")
            if oracle.demanded(site.WORLDS[0], ask):
                seen["flagged to our own workers" if server in fleet.workers else "flagged to private endpoints"] += 1
