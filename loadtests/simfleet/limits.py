"""Requests and tokens per minute, as OpenAI meters them: two buckets that refill continuously."""

from __future__ import annotations

import math
from dataclasses import dataclass

MINUTE_S = 60.0


@dataclass(slots=True)
class Bucket:
    """Holds `limit` units, refilled at limit per minute. Times are seconds on the caller's clock."""

    limit: int
    level: float
    at: float

    @classmethod
    def full(cls, limit: int, now: float) -> Bucket:
        return cls(limit, limit, now)

    def refill(self, now: float) -> None:
        self.level = min(self.limit, self.level + (now - self.at) * self.limit / MINUTE_S)
        self.at = now

    def wait_s(self, amount: float) -> float:
        """Seconds until `amount` is there; 0 when it is."""
        return max(0.0, (amount - self.level) * MINUTE_S / self.limit)

    def headers(self, unit: str) -> list[tuple[bytes, bytes]]:
        """The three x-ratelimit headers; the reset is when the bucket is full again."""
        values = {
            "limit": str(self.limit),
            "remaining": str(max(0, int(self.level))),
            "reset": duration(self.wait_s(self.limit)),
        }
        return [(f"x-ratelimit-{name}-{unit}".encode(), value.encode()) for name, value in values.items()]


class Limits:
    """The limits of one account; either may be off (None)."""

    def __init__(self, rpm: int | None, tpm: int | None, now: float) -> None:
        self.requests = Bucket.full(rpm, now) if rpm else None
        self.tokens = Bucket.full(tpm, now) if tpm else None

    def take(self, now: float, tokens: int) -> tuple[float, str]:
        """Charge one request of so many tokens. Returns (0, "") or, charging nothing, (seconds to wait, the unit)."""
        wants = [(bucket, amount, unit) for bucket, amount, unit in self._wants(tokens) if bucket is not None]
        for bucket, _, _ in wants:
            bucket.refill(now)
        wait, unit = max(((bucket.wait_s(amount), unit) for bucket, amount, unit in wants), default=(0.0, ""))
        if wait > 0:
            return wait, unit
        for bucket, amount, _ in wants:
            bucket.level -= amount
        return 0.0, ""

    def headers(self) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        for bucket, _, unit in self._wants(0):
            found += bucket.headers(unit) if bucket is not None else []
        return found

    def _wants(self, tokens: int) -> list[tuple[Bucket | None, int, str]]:
        return [(self.requests, 1, "requests"), (self.tokens, tokens, "tokens")]


def duration(seconds: float) -> str:
    """OpenAI's spelling of a reset: 350ms, 1s, 6m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
