"""What is loaded: a demo of our own, one that runs already, or a given address; and what its policy says of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.errors import StartupFault
from gateway.model import Policy, Price, Upstream
from gateway.routing.priors import work_us
from loadtests import demo_fleet
from loadtests.demo import start_fleet
from loadtests.lengths import Lengths
from loadtests.stack import DEMO_POLICIES, start_gateway

SIM_URL = f"http://127.0.0.1:{demo_fleet.BASE_PORT + demo_fleet.GPUS}"
"""The demo's GPU page, which also answers /sim/..."""
SIM_API = "managed-1"
ASK_SECONDS = 10.0


class TargetFault(Exception):
    """There is nothing to load; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the policy folder says of one chat model: its local workers, and the price of buying."""

    workers: tuple[Upstream, ...]
    price: Price

    def capacity(self, mean: Lengths) -> float:
        """Requests/s with every seat busy: a step of n sequences writes n tokens, and prefills what n / output new
        requests bring. `n` is bounded by the seats and by the limit on leased work."""
        rate = 0.0
        for worker in self.workers:
            speed = worker.speed
            work = work_us(speed, worker.seats, mean.prompt, mean.output)
            n = min(worker.seats, worker.limit / work)
            prefill = speed.per_prompt_token_ms * mean.prompt * n / mean.output
            rate += n / mean.output / (speed.step_ms + speed.per_seq_ms * n + prefill) * 1000
        return rate


class Simulator:
    """The control pages of a simulated fleet on this machine."""

    def __init__(self, url: str = SIM_URL) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=ASK_SECONDS)
        self._since = len(self._bought())

    def close(self) -> None:
        self._client.close()

    def reset(self) -> None:
        """From here on honesty is judged and requests are counted."""
        self._client.post("/sim/honesty/reset").raise_for_status()
        self._since = len(self._bought())

    def honesty(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get("/sim/honesty").raise_for_status().json()
        return found

    def bought(self) -> int:
        """Requests that the simulated API received since `reset`, by its own journal."""
        return len(self._bought(self._since))

    def _bought(self, since: int = 0) -> list[Any]:
        page = self._client.get("/sim/requests", params={"name": SIM_API, "since": since}).raise_for_status()
        found: list[Any] = page.json()["requests"]
        return found


@dataclass(frozen=True, slots=True)
class Target:
    """`pids`: what ran before us, by name; empty where it is not ours to see."""

    url: str
    note: str
    simulator: Simulator | None
    pids: dict[str, int]
    key: str = field(repr=False)


def served_here(policy: Policy, model: str) -> tuple[Upstream, ...]:
    """The local workers of one model. Raises TargetFault."""
    if model not in policy.models:
        raise TargetFault(f"the policy folder has no model `{model}`; it has {', '.join(policy.models)}")
    found = [w for one in policy.models[model].served_by for w in policy.backends[one.backend] if w.kind == "local"]
    return tuple(found)


def facts(policy: Policy, model: str) -> Facts:
    """Raises TargetFault."""
    workers = served_here(policy, model)
    if not workers:
        raise TargetFault(f"`{model}` has no local workers in the policy folder: nothing can spill")
    served = policy.models[model].served_by
    return Facts(workers, next((one.price for one in served if one.price is not None), Price()))


def other(url: str, key: str) -> Target:
    """A gateway to compare with, of any make. Raises TargetFault."""
    check(url, key, ours=False)
    return Target(url.rstrip("/"), f"the gateway at {url}", None, {}, key)


@contextlib.contextmanager
def running(url: str | None, key: str) -> Iterator[Target]:
    """A gateway that answers, for as long as the block lasts. Raises TargetFault, StackFault or SimFault."""
    if url is not None:
        check(url, key)
        yield Target(url.rstrip("/"), f"the gateway at {url}", None, {}, key)
        return
    with contextlib.ExitStack() as stack:
        try:
            fleet = stack.enter_context(start_fleet())
        except StartupFault as taken:
            url = running_demo(key, taken)
            simulator = stack.enter_context(contextlib.closing(Simulator()))
            yield Target(url, f"the demo that runs already at {url}", simulator, {}, key)
            return
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
        gateway = stack.enter_context(start_gateway(DEMO_POLICIES, data, log=data / "gateway.log"))
        pids = {"gateway": gateway.pid, "simulated fleet": fleet.pid}
        simulator = stack.enter_context(contextlib.closing(Simulator()))
        yield Target(gateway.url, "a demo of its own", simulator, pids, key)


def running_demo(key: str, taken: StartupFault) -> str:
    """The address of the demo that holds the ports, if it answers. Raises TargetFault."""
    url = f"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', '8080')}"
    try:
        check(url, key)
    except TargetFault as fault:
        raise TargetFault(f"{taken}; {fault}: stop what holds the port, or give HOST=") from None
    return url


def check(url: str, key: str, *, ours: bool = True) -> None:
    """The key is good, and a gateway of `ours` is ready. Raises TargetFault."""
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=ASK_SECONDS) as client:
            ready = client.get("/readyz") if ours else None
            models = client.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise TargetFault(f"no gateway answers at {url}: {type(fault).__name__}") from None
    if ready is not None and ready.status_code != httpx.codes.OK:
        raise TargetFault(f"the gateway at {url} is not ready (/readyz: {ready.status_code})")
    if models.status_code != httpx.codes.OK:
        raise TargetFault(f"the gateway at {url} does not take this key (KEY=, AGAINST_KEY=): {models.status_code}")
