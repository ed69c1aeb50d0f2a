"""Replicas in front of one store, one bought API that keeps its own bill, and one budget."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis

from gateway.money.keys import hash_key
from loadtests.chaos.servers import Store
from loadtests.policy_folder import write
from loadtests.simfleet.bills import read_bills
from loadtests.simfleet.harness import SimFleet, start
from loadtests.spendproof.clients import KEY, MODEL
from loadtests.spendproof.judge import Booked, Counter
from loadtests.stack import Gateway, free_port, start_gateway

PEPPER, ADMIN_KEY = "proof-pepper", "proof-admin-key-0001"
WEIGHTS, API, TENANT = "simulated/proof", "api", "proof"
INPUT_PER_1M, OUTPUT_PER_1M = "0.8", "2.4"
"""USD. A request of about 60 and 16 tokens costs about 90 micro-dollars."""
BOUGHT = {"ttft_median_s": 0.004, "tokens_per_s": 4000.0, "frames_per_s": 200.0}
"""Fast: what is proved is not about how long an answer takes."""
COUNTERS = f"gw:{{money}}:quota:tenant {TENANT}: usd per total"
"""Where the store counts the budget (docs/store.md)."""
REST_SECONDS = 30.0
POLL_SECONDS = 0.05


class Site:
    """One run's processes. Replicas are called g1, g2, ..."""

    def __init__(self, place: Path, usd: str, replicas: int) -> None:
        self.place, self.usd, self.gateways = place, usd, dict[str, Gateway]()
        self._names = [f"g{number + 1}" for number in range(replicas)]

    @contextmanager
    def running(self) -> Iterator[Site]:
        with ExitStack() as stack:
            self.store = stack.enter_context(Store(self.place / "store"))
            self._client: redis.Redis = stack.enter_context(self.store.client())
            bills = str(self.place / "bills")
            self.api: SimFleet = stack.enter_context(start(seed=3, workers=[], managed=[self._api()], bills=bills))
            self._write_policy()
            stack.callback(self._kill_all)
            for name in self._names:
                self.start(name)
            yield self

    # replicas

    def start(self, name: str) -> None:
        env = {
            "GATEWAY_REDIS_URL": self.store.url,
            "GATEWAY_KEY_PEPPER": PEPPER,
            "GATEWAY_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_LEDGER_URL": f"sqlite:///{self._ledger}",
            "GATEWAY_GRACE_SECONDS": "5",
        }
        log = self.place / f"{name}.log"
        self.gateways[name] = start_gateway(self.place / "policy", self.place / name, env=env, log=log)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.gateways.pop(name).kill()

    def stop(self, name: str) -> None:
        """SIGTERM, and the end of it."""
        self.gateways.pop(name).stop()

    def ports(self) -> list[int]:
        return [port for gateway in self.gateways.values() if (port := urlsplit(gateway.url).port)]

    # evidence

    def counter(self) -> Counter:
        """The budget's own counters, from the store itself."""
        used, held = self._client.hmget(COUNTERS, "total:used", "total:held")
        return Counter(int(used or 0), int(held or 0))

    def bills(self) -> Mapping[str, int]:
        """Attempt -> micro-dollars, by the API's own account."""
        return {line["request_id"]: line["micro_usd"] for line in read_bills(self.place / "bills")}

    def ledger(self) -> Mapping[str, Booked]:
        """The rows that count in the budget, read from the database by a reader of our own."""
        with contextlib.closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT attempt, cost, reserved, state, basis, role, estimated FROM attempts")
            return {
                attempt: Booked(
                    reserved if cost is None else cost,
                    state == "settled",
                    known=cost is not None and basis == "list" and not estimated,
                    attempt=role != "slice",
                )
                for attempt, cost, reserved, state, basis, role, estimated in rows
            }

    def rest(self) -> None:
        """Returns when the books stand still: nothing set aside, and all rows written. Raises TimeoutError."""
        until(lambda: self.counter().held == 0, "nothing is set aside any more")
        until(lambda: sum(row.micro for row in self.ledger().values()) >= self.counter().used, "all rows are written")

    # what it is made of

    @property
    def _ledger(self) -> Path:
        return self.place / "ledger.db"

    def _api(self) -> dict[str, object]:
        prices = {"usd_in_per_1m": float(INPUT_PER_1M), "usd_out_per_1m": float(OUTPUT_PER_1M)}
        return {"name": API, "port": free_port(), "model": WEIGHTS, **prices, **BOUGHT}

    def _write_policy(self) -> None:
        account = {"name": API, "url": self.api.managed[0].url, "key": "sim-managed-key"}
        price = {"input_per_1m": float(INPUT_PER_1M), "output_per_1m": float(OUTPUT_PER_1M)}
        budget = {"usd": float(self.usd), "per": "total"}
        write(
            self.place / "policy",
            backends={
                "zones": {"us": {}},
                "backends": [
                    {"name": API, "kind": "managed", "zone": "us", "simulated": True, "upstreams": [account]},
                ],
            },
            models={
                "models": [
                    {
                        "name": MODEL,
                        "modality": "text",
                        "served_by": [{"backend": API, "as": WEIGHTS, "price": price}],
                    }
                ]
            },
            routing={"rules": [{"name": "all", "match": {}, "route": {"backends": [API]}}]},
            tenants={"tenants": [{"name": TENANT, "keys": [hash_key(PEPPER, KEY)], "budgets": [budget]}]},
        )

    def _kill_all(self) -> None:
        for name in list(self.gateways):
            self.kill(name)


def until(condition: Callable[[], object], what: str) -> None:
    """Raises TimeoutError naming `what`."""
    deadline = time.monotonic() + REST_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {REST_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
