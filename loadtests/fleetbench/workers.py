"""The far side of the bench: `python -m loadtests.fleetbench.workers COUNT PAGE_BYTES` serves so many workers on ports
of their own, on loopback, and prints the ports as one line of JSON. Ends with its standard input."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from typing import cast

import uvloop

MODELS = {"object": "list", "data": [{"id": "org/bench-8b", "object": "model", "owned_by": "vllm", "parent": None}]}
_LE = 0.3
"""The first bound of the histograms' buckets; each one is that much more."""


def page(size: int) -> bytes:
    """A vLLM page of `size` bytes: what is read stands among the first lines, and one metric near the end."""
    label = '{engine="0",model_name="org/bench-8b"}'
    head = [
        "# TYPE process_start_time_seconds gauge",
        f"process_start_time_seconds {time.time():.2f}",
        "# HELP vllm:num_requests_running Number of requests in model execution batches.",
        "# TYPE vllm:num_requests_running gauge",
        f"vllm:num_requests_running{label} 3.0",
        "# TYPE vllm:num_requests_waiting gauge",
        f"vllm:num_requests_waiting{label} 1.0",
        "# TYPE vllm:num_requests_waiting_by_reason gauge",
        'vllm:num_requests_waiting_by_reason{engine="0",model_name="org/bench-8b",reason="capacity"} 1.0',
        "# TYPE vllm:kv_cache_usage_perc gauge",
        f"vllm:kv_cache_usage_perc{label} 0.42",
    ]
    tail = ['vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="20000"} 1.0', ""]
    lines, long = [*head], sum(map(len, [*head, *tail])) + len(head)
    bound = _LE
    while long < size:
        line = f'vllm:e2e_request_latency_seconds_bucket{{engine="0",le="{bound:.1f}",model_name="org/bench-8b"}} 12.0'
        lines.append(line)
        long, bound = long + len(line) + 1, bound + _LE
    return "\n".join([*lines, *tail]).encode()


def answers(size: int) -> Mapping[bytes, bytes]:
    """Path -> the whole answer."""
    bodies = {
        b"/metrics": page(size),
        b"/v1/models": json.dumps(MODELS).encode(),
        b"/version": b'{"version":"0.33.0"}',
        b"/health": b"",
    }
    return {path: b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body for path, body in bodies.items()}


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}"


class Worker(asyncio.Protocol):
    """Answers requests that come whole, one after another."""

    def __init__(self, known: Mapping[bytes, bytes]) -> None:
        self._known = known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        path = data.split(b" ", 2)[1]
        self._transport.write(self._known.get(path, NOT_FOUND))


async def serve(count: int, size: int) -> None:
    loop, known = asyncio.get_running_loop(), answers(size)
    servers = [await loop.create_server(lambda: Worker(known), "127.0.0.1", 0) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
