"""The gateway processes of the proof, and what they stand between: a store, workers of ours, two bought APIs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from gateway.money.keys import hash_key
from loadtests.chaos.servers import Store
from loadtests.jobsproof.provider import Bare, Listed
from loadtests.nursery import die_with_parent
from loadtests.policy_folder import write
from loadtests.simfleet.harness import SimFleet
from loadtests.simfleet.harness import start as start_fleet
from loadtests.simproviders.serving import serve
from loadtests.stack import ROOT, StackFault, free_port

KEY, ADMIN_KEY, PEPPER = "proof-key", "proof-admin-key-0001", "proof-pepper"
TENANT, BUDGET_USD = "proof", 1_000_000.0
OURS, LISTED, BARE = "ours", "listed", "bare"
"""Models, and the backends of the same names: workers of ours, and the two bought APIs."""
WORKERS, SEATS, UNIT_SECONDS, FAILING = 2, 32, 0.02, 0.03
ROOM = 2000.0
"""GPU-seconds that a worker may hold, by the guess at what films take: as many as it has seats."""
REFUSED = 2
"""Exit code of a gateway that cannot start."""
READY_SECONDS, POLL_SECONDS = 30.0, 0.05
CALM = {"breaker": {"consecutive": 1000, "least": 1000}}
"""What is proved is not whom a gateway avoids."""
TIMEOUTS = {"order": "40s", "queued": "3s"}
ACCESS = "proof-access:proof-secret-of-thirty-two-bytes"


class Site:
    """`urls` stay the same over the lives of the processes. `longest`: seconds that a job may take."""

    def __init__(self, place: Path, processes: int, longest: float, seed: int) -> None:
        self.place, self._longest, self._seed = place, longest, seed
        self._ports = [free_port() for _ in range(processes)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self.exits = Counter[int]()
        """Codes of processes that ended by themselves."""

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @property
    def artefacts(self) -> Path:
        return self.place / "artefacts"

    @property
    def ledger(self) -> Path:
        return self.place / "ledger.db"

    @contextmanager
    def running(self) -> Iterator[Site]:
        with ExitStack() as stack:
            self.store = stack.enter_context(Store(self.place / "store"))
            self.fleet = stack.enter_context(_fleet(self._seed))
            listed = stack.enter_context(serve(Listed(self._seed, key=ACCESS)))
            bare = stack.enter_context(serve(Bare(self._seed)))
            self.apis = (listed.provider, bare.provider)
            self._write_policy(listed.url, bare.url)
            stack.callback(self._close)
            for port in self._ports:
                self._spawn(port)
            self.ready()
            yield self

    def kill(self, draw: random.Random) -> None:
        """SIGKILL, and another one at once in its place: it may well be hit before it is ready."""
        port = draw.choice(self._ports)
        self._running[port].kill()
        self._running[port].wait()
        self._spawn(port)

    def keep(self) -> None:
        """What a supervisor does: one that ended by itself is started again. A gateway that finds no store as it begins
        does not begin (code 2)."""
        for port, process in list(self._running.items()):
            code = process.poll()
            if code is not None:
                self.exits[code] += 1
                self._spawn(port)

    def freeze(self, draw: random.Random) -> subprocess.Popen[bytes]:
        """It is believed dead, loses its jobs to others, and comes back (SIGCONT) with all that it believes."""
        process = self._running[draw.choice(self._ports)]
        process.send_signal(signal.SIGSTOP)
        return process

    def ready(self) -> None:
        """Returns once every process is. Raises StackFault."""
        deadline = time.monotonic() + READY_SECONDS
        with httpx.Client(timeout=2.0, trust_env=False) as http:
            for port in self._ports:
                while not _is_ready(http, port):
                    self.keep()
                    if time.monotonic() > deadline:
                        raise StackFault(f"the process on port {port} is not ready; see {self._log(port)}")
                    time.sleep(POLL_SECONDS)

    def _spawn(self, port: int) -> None:
        env = {
            "PYTHONPATH": str(ROOT),
            "GATEWAY_POLICIES": str(self.place / "policy"),
            "GATEWAY_DATA_DIR": str(self.place / f"data-{port}"),
            "GATEWAY_REDIS_URL": self.store.url,
            "GATEWAY_LEDGER_URL": f"sqlite:///{self.ledger}",
            "GATEWAY_KEY_PEPPER": PEPPER,
            "GATEWAY_ADMIN_KEY": ADMIN_KEY,
            "GATEWAY_ARTEFACTS": str(self.artefacts),
            "GATEWAY_ARTEFACTS_FLOOR": "0",
            "GATEWAY_JOBS_DURABILITY": "required",
            "GATEWAY_JOBS_LONGEST_SECONDS": f"{self._longest:g}",
        }
        with self._log(port).open("ab") as log:
            self._running[port] = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "--host", "127.0.0.1", "--port", str(port)],
                cwd=ROOT,
                env={**os.environ, **env},
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
                start_new_session=True,
            )

    def _log(self, port: int) -> Path:
        return self.place / f"gateway-{port}.log"

    def _close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def _write_policy(self, listed: str, bare: str) -> None:
        workers = [
            {"name": one.name, "url": one.url, "max_num_seqs": SEATS, "engine": "vllm-omni", "limit_work_s": ROOM}
            for one in self.fleet.workers
        ]
        gpu = {"kind": "H100", "usd_per_hour": 2.0}
        bought = {"kind": "managed", "zone": "us", "simulated": True, **CALM}
        accounts = {
            LISTED: {"name": "kling", "url": listed, "key": ACCESS},
            BARE: {"name": "replicate", "url": bare, "key": "sim-key"},
        }
        served = {
            OURS: [{"backend": OURS, "as": "simulated/film"}],
            LISTED: [{"backend": LISTED, "as": "kling-v2-1", "price": {"per_second": 0.056}}],
            BARE: [{"backend": BARE, "as": "kwaivgi/kling-v2.1", "price": {"per_second": 0.05}}],
        }
        write(
            self.place / "policy",
            backends={
                "zones": {"onprem": {}, "us": {}},
                "backends": [
                    {"name": OURS, "kind": "local", "zone": "onprem", "gpu": gpu, "upstreams": workers, **CALM},
                    {"name": LISTED, "dialect": "kling", "upstreams": [accounts[LISTED]], **bought},
                    {"name": BARE, "dialect": "replicate", "upstreams": [accounts[BARE]], **bought},
                ],
            },
            models={"models": [{"name": name, "modality": "video", "served_by": by} for name, by in served.items()]},
            routing={
                "rules": [
                    {"name": name, "match": {"model": name}, "route": {"backends": [name], "timeouts": TIMEOUTS}}
                    for name in served
                ]
            },
            tenants={
                "tenants": [
                    {
                        "name": TENANT,
                        "keys": [hash_key(PEPPER, KEY)],
                        "budgets": [{"usd": BUDGET_USD, "per": "total"}],
                    }
                ]
            },
        )


def _fleet(seed: int) -> SimFleet:
    worker = {"engine": "vllm-omni", "model": "simulated/film", "unit_s": UNIT_SECONDS, "job_batch": SEATS}
    fleet = start_fleet(seed=seed, workers=WORKERS, managed=0, worker=worker)
    fleet.config(None, fail_jobs=FAILING)
    return fleet


def _is_ready(http: httpx.Client, port: int) -> bool:
    with suppress(httpx.HTTPError):
        return http.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK
    return False
