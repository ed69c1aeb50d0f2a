"""The gateway under test with one fast simulated worker behind it, and what is asked of both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from loadtests.bench.proc import PROC, cpu_seconds, tree
from loadtests.policy_folder import write
from loadtests.simfleet.harness import start
from loadtests.stack import Gateway, start_gateway

WEIGHTS = "meta-llama/Llama-3.3-70B-Instruct"
"""The simulated worker's own name of its model."""
ASKED = {"model": "bench", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
WRITER = b"\0ledger\0write\0"
READY_SECONDS = 20.0


@contextlib.contextmanager
def site(folder: Path, ledger_url: str) -> Iterator[Gateway]:
    """A gateway whose ledger is at `ledger_url`; its log is in the folder."""
    with start(workers=1, managed=0, worker={"max_num_seqs": 32}) as fleet:
        worker = fleet.workers[0]
        backend = {
            "name": "local",
            "kind": "local",
            "zone": "onprem",
            "networks": ["127.0.0.0/8"],
            "gpu": {"kind": "H100"},
            "upstreams": [{"name": worker.name, "url": worker.url, "engine": "vllm"}],
        }
        served = [{"backend": "local", "as": WEIGHTS}]
        write(
            folder / "policies",
            backends={"zones": {"onprem": {}}, "backends": [backend]},
            models={"models": [{"name": "bench", "modality": "text", "served_by": served}]},
            routing={"rules": [{"name": "all", "route": {"backends": ["local"], "slo": {"ttft_ms": 1000}}}]},
        )
        env = {"GATEWAY_LEDGER_URL": ledger_url}
        with start_gateway(folder / "policies", folder / "data", env=env, log=folder / "log") as gateway:
            yield gateway


def writer_of(gateway: Gateway) -> int:
    """The writer's process. Raises TimeoutError."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        for pid in tree(gateway.pid):
            with contextlib.suppress(OSError):
                if WRITER in (PROC / str(pid) / "cmdline").read_bytes():
                    return pid
        time.sleep(0.05)
    raise TimeoutError("the gateway started no writer")


async def ask(client: httpx.AsyncClient, url: str) -> float:
    """One request; seconds."""
    began = time.perf_counter()
    (await client.post(f"{url}/v1/chat/completions", json=ASKED)).raise_for_status()
    return time.perf_counter() - began


def cpu(*pids: int) -> float:
    """Seconds of CPU so far."""
    return cpu_seconds(pids)
