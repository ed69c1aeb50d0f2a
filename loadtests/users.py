"""Locust users that keep to a plan of arrivals: a locustfile, started by `python -m loadtests.spillover`.

The load is open-loop. Arrivals are fixed beforehand; an idle user claims the next one and sleeps until it is due, so a
slow answer delays nobody else's request as long as some user is idle. POOL bounds the requests in flight: should all
users be busy, an arrival starts late, and both its lateness and its longer time to first token are on record.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient._parser import HTTPParseError
from locust import User, constant, events, task

from loadtests import plan
from loadtests.feed import DRAIN_SECONDS, Feed, body, judge
from loadtests.plan import Job, Result
from loadtests.shape import Steady

POOL = 300
"""Users. The simulated API is built for 400 closed-loop clients."""
ANSWER_SECONDS = 60.0
"""Longest silence that is not a failure."""
BLOCK = 1 << 16
SEEN = ("outcome", "reason", "upstream")
"""The `X-Gateway-*` headers that are kept."""

results = Path(os.environ["LOAD_RESULTS"]).open("wb", buffering=0)  # noqa: SIM115 - for as long as the process lives
feed = Feed(plan.load(Path(os.environ["LOAD_PLAN"])), results)


class Spillover(Steady):
    """POOL users until the feed is over."""

    users = POOL

    def over(self) -> bool:
        return feed.over()


def _begin(**_: Any) -> None:
    feed.start()


events.test_start.add_listener(_begin)  # type: ignore[no-untyped-call]


class ChatUser(User):
    """One client: claims an arrival, waits for it, asks, and reads the answer to its end."""

    wait_time = constant(0)

    def on_start(self) -> None:
        key = os.environ.get("GATEWAY_KEY", "demo")
        # A connection for each request: a kept one may be closed by the server just as it is used again.
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Connection": "close"}
        root = urlsplit(self.host or "")
        self._client = HTTPClient.from_url(
            f"{root.scheme}://{root.netloc}", headers=headers, network_timeout=ANSWER_SECONDS, block_size=BLOCK
        )

    @task
    def ask(self) -> None:
        claimed = feed.claim()
        if claimed is None:
            gevent.sleep(DRAIN_SECONDS)
            return
        number, job = claimed
        gevent.sleep(max(0.0, job.due - feed.now()))
        result = self._exchange(job, body(feed.plan.model, job, number))
        feed.done(result)
        self.environment.events.request.fire(
            request_type="POST",
            name=result.outcome or f"status {result.status}",
            response_time=1000 * ((result.first or result.ended) - result.due),
            response_length=0,
            exception=RuntimeError(result.fault) if result.failed else None,
            context={},
        )

    def _exchange(self, job: Job, content: bytes) -> Result:
        began = feed.now()
        seen: dict[str, str] = {}
        status, first, waited, fault = 0, None, 0.0, ""
        try:
            flag = {"X-Data-Residency": "local"} if job.flagged else {}
            with self._client.request("POST", "/v1/chat/completions", content, flag) as answer:
                status = answer.status_code
                seen = {name: str(answer.get(f"x-gateway-{name}", "")) for name in SEEN}
                waited = float(str(answer.get("x-gateway-queue-ms", "0"))) / 1000
                start = answer.read(1)
                first = feed.now()
                fault = judge(job, status, start + answer.read())
        except (OSError, HTTPParseError) as broken:
            fault = type(broken).__name__
        return Result(
            due=job.due,
            began=began,
            first=first if status == 200 else None,
            ended=feed.now(),
            status=status,
            stream=job.stream,
            flagged=job.flagged,
            prompt=job.prompt,
            output=job.output,
            waited=waited,
            fault=fault,
            **seen,
        )
