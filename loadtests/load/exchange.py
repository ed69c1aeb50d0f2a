"""One request over its own connection, as its client sees it: gevent's HTTP client, times on the plan's clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import gevent
import msgspec
from geventhttpclient import HTTPClient
from geventhttpclient._parser import HTTPParseError

from loadtests.load.asks import LOCAL, PATHS, body, fault
from loadtests.load.plan import Job, Kind, Result

ANSWER_SECONDS = 60.0
"""Longest silence that is not a failure."""
BLOCK = 1 << 16
SLOW_READS = 4.0
"""Reads per second of a client that reads slowly."""
POLL_SECONDS = 0.5
"""Between two looks at a film, of a gateway that does not hold the answer."""
HELD_SECONDS = 20
RECEIPT_LOOKS = 6
OVER = {"completed", "failed"}
SEEN = ("outcome", "reason", "upstream")
"""The `X-Gateway-*` headers that are kept."""


@dataclass(slots=True)
class Seen:
    """What an exchange has come to so far; still so when its client leaves in the middle."""

    status: int = 0
    first: float | None = None
    fault: str = ""
    waited: float = 0.0
    cost: float | None = None
    said: dict[str, str] = field(default_factory=dict)
    finished: bool = False
    ended: float | None = None


class Wire:
    """A client of one gateway. `now`: seconds since the plan's start."""

    def __init__(self, host: str, key: str, now: Callable[[], float]) -> None:
        root = urlsplit(host)
        # A connection for each request: a kept one may be closed by the server just as it is used again.
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Connection": "close"}
        self._client = HTTPClient.from_url(
            f"{root.scheme}://{root.netloc}", headers=headers, network_timeout=ANSWER_SECONDS, block_size=BLOCK
        )
        self._now = now

    def exchange(self, kind: Kind, job: Job, number: int) -> Result:
        """Asks, and reads the answer to its end, or as far as this client stays."""
        began, seen = self._now(), Seen()
        content = body(kind, job, number)
        with gevent.Timeout(job.leaves if job.leaves >= 0 else None, False):
            try:
                self._ask(kind, job, content, seen)
            except (OSError, HTTPParseError, msgspec.DecodeError, KeyError) as broken:
                seen.fault = type(broken).__name__
            seen.finished = True
        if not seen.finished:
            seen.ended = None
        return Result(
            due=job.due,
            began=began,
            first=seen.first if seen.status == 200 else None,
            ended=self._now() if seen.ended is None else seen.ended,
            status=seen.status,
            stream=job.stream,
            flagged=job.flagged,
            prompt=job.prompt,
            output=job.output,
            waited=seen.waited,
            fault=seen.fault,
            kind=kind.kind,
            gone=not seen.finished,
            slow=bool(job.pace),
            cost=seen.cost,
            **seen.said,
        )

    def _ask(self, kind: Kind, job: Job, content: bytes, seen: Seen) -> None:
        with self._client.request("POST", PATHS[kind.kind], content, LOCAL if job.flagged else {}) as answer:
            seen.status = answer.status_code
            seen.said = {name: str(answer.get(f"x-gateway-{name}", "")) for name in SEEN}
            seen.waited = float(str(answer.get("x-gateway-queue-ms", "0"))) / 1000
            cost = answer.get("x-gateway-cost-usd")
            seen.cost = None if cost is None else float(str(cost))
            start = answer.read(1)
            seen.first = self._now()
            whole = start + (self._slowly(answer, job.pace) if job.pace else answer.read())
            request = str(answer.get("x-request-id", ""))
        seen.ended = self._now()
        seen.fault = fault(kind, job, seen.status, whole)
        if kind.kind == "video" and seen.status == 200:
            self._film(msgspec.json.decode(whole)["id"], seen)
        elif kind.kind != "chat" and seen.cost is None and seen.said["outcome"] not in ("", "local"):
            seen.cost = self._told(request)

    def _told(self, request: str) -> float | None:
        """The cost on a receipt, which is written a moment after the answer. Chats go by list price: they are many."""
        for _ in range(RECEIPT_LOOKS):
            if (found := _usd(self._get(f"/v1/gateway/receipts/{request}").get("cost"))) is not None:
                return found
            gevent.sleep(POLL_SECONDS)
        return None

    def _slowly(self, answer: Any, pace: float) -> bytes:
        """No faster than `pace` bytes/s; what is not read yet stays in the socket, and the sender feels it."""
        size, found = max(1, round(pace / SLOW_READS)), bytearray()
        while chunk := answer.read(size):
            found += chunk
            gevent.sleep(len(chunk) / pace)
        return bytes(found)

    def _film(self, name: str, seen: Seen) -> None:
        """Waits until it is over; where it was made and what it cost the gateway says of the job."""
        while (film := self._get(f"/v1/videos/{name}?wait={HELD_SECONDS}"))["status"] not in OVER:
            gevent.sleep(POLL_SECONDS)
        seen.ended = self._now()
        if film["status"] == "failed":
            seen.fault = f"film {(film.get('error') or {}).get('code', 'failed')}"
        job = self._get(f"/v1/gateway/jobs/{name}")
        tries = job.get("tries") or [{}]
        seen.said = {"upstream": tries[-1].get("upstream", ""), "outcome": _served(tries[-1])}
        seen.cost = _usd(job.get("cost"))

    def _get(self, path: str) -> dict[str, Any]:
        with self._client.request("GET", path) as answer:
            found: dict[str, Any] = msgspec.json.decode(answer.read())
            return found


def _served(attempt: Mapping[str, Any]) -> str:
    managed = attempt.get("managed")
    return "" if managed is None else "spilled" if managed else "local"


def _usd(cost: Any) -> float | None:
    """Of a receipt's cost."""
    return float(cost["usd"]) if isinstance(cost, dict) and "usd" in cost else None
