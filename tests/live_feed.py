"""A viewer of the live feed of a real gateway: what it has been told so far."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from gateway.console.live.told import Told
from tests.gateways import eventually

PATH = "/admin/v1/live"


class Looking:
    """`events` in the order in which they came; `ended` once the gateway closed the stream."""

    def __init__(self) -> None:
        self.told, self.events = Told(), list[tuple[str, dict[str, Any]]]()
        self.ended = threading.Event()
        self.fault: BaseException | None = None

    def sees(self, condition: Callable[[Told], object], what: str, within: float = 5.0) -> None:
        eventually(lambda: self.told.whole and condition(self.told), what, within)

    def read(self, lines: Iterator[str]) -> None:
        kind = ""
        try:
            for line in lines:
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = json.loads(value)
                    self.events.append((kind, data))
                    self.told.take(kind, data)
        except (httpx.HTTPError, httpx.StreamError) as fault:
            self.fault = fault
        finally:
            self.ended.set()


@contextmanager
def looking(url: str, only: str = "", key: str = "") -> Iterator[Looking]:
    """A viewer in a thread of its own, for as long as the block lasts."""
    seen, headers = Looking(), {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(trust_env=False, timeout=httpx.Timeout(5.0, read=30.0)) as http:
        request = http.build_request("GET", url + PATH, params={"only": only} if only else None, headers=headers)
        answer = http.send(request, stream=True)
        assert answer.status_code == httpx.codes.OK, answer.read()
        thread = threading.Thread(target=seen.read, args=(answer.iter_lines(),), daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            stream: Any = answer.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):  # it may have ended already
                stream.shutdown(2)
            thread.join(5)
            answer.close()
