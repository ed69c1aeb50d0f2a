"""What the simulated APIs charge: a bill of their own, by prices of their own, that no request can read.

One line of JSON for each request that an API began to work on, appended to a file as the request ends::

    {"api": "managed-1", "request_id": "...", "id": "chatcmpl-...", "model": "...", "prompt_tokens": 12,
     "cached_tokens": 0, "completion_tokens": 7, "micro_usd": 9, "how": "finished"}

`request_id` is the `X-Request-Id` that came with it. A request that was broken off (`how`: aborted, dropped) is charged
its prompt and the tokens that were generated until the API noticed, told to anybody or not. Refused requests cost
nothing and are not here. Nothing of the gateway is imported: two mistakes must not be the same one.
"""

from __future__ import annotations

import os
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

import msgspec

from .config import ManagedConfig
from .journal import Entry


class Bills:
    """The file. Each line is one write, so that whoever reads it meanwhile sees whole lines."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if path else None

    def add(self, config: ManagedConfig, entry: Entry, generated: int, how: str) -> None:
        """`generated`: output tokens, whether or not anybody got them."""
        if self._file is None:
            return
        line = {
            "api": config.name,
            "request_id": entry.x_request_id,
            "id": entry.id,
            "model": entry.model,
            "prompt_tokens": entry.prompt_tokens,
            "cached_tokens": entry.cached_tokens,
            "completion_tokens": generated,
            "micro_usd": charge(config, entry.prompt_tokens, entry.cached_tokens, generated),
            "how": how,
        }
        os.write(self._file, msgspec.json.encode(line) + b"\n")


def charge(config: ManagedConfig, prompt: int, cached: int, generated: int) -> int:
    """Micro-dollars, rounded up for each request. USD for a million tokens are micro-dollars for one."""
    fresh = (prompt - cached) * Decimal(str(config.usd_in_per_1m))
    kept = cached * Decimal(str(config.usd_cached_per_1m))
    written = generated * Decimal(str(config.usd_out_per_1m))
    return int((fresh + kept + written).to_integral_value(ROUND_CEILING))


def read_bills(path: Path) -> list[dict[str, Any]]:
    """All lines so far."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
