"""`make run`: a simulated fleet, simulated APIs, the store and the gateway, and what they do, live.
`make demo`: the same with traffic, in waves that rise past the capacity of the fleet."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.port import bind
from gateway.errors import StartupFault
from gateway.settings import load_settings
from loadtests import demo_fleet
from loadtests.children import CRADLE
from loadtests.fleet_page import FleetPage, read
from loadtests.policy_news import PolicyNews
from loadtests.simfleet.harness import SimFault, SimFleet, start
from loadtests.stack import DEMO_POLICIES, ROOT, StackFault, end, start_gateway

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 10.0
"""Between two lines where the output is not a terminal."""
WINDOW_SECONDS = 30.0
BAR_WIDTH = 10
STARTING_SECONDS = 3.0
"""How long a killed earlier run may take to leave its ports."""
TRAFFIC_STOP_SECONDS = 3.0
SNIPPET = """\
{url}/dashboard shows the fleet, where requests go and why, what it costs.

curl {url}/v1/chat/completions -H 'Authorization: Bearer demo' -H 'Content-Type: application/json' \\
  -d '{{"model": "llama-3.3-70b", "max_tokens": 40, "messages": [{{"role": "user", "content": "hello"}}]}}'

curl {url}/v1/images/generations -H 'Authorization: Bearer demo' -H 'Content-Type: application/json' \\
  -d '{{"model": "picture", "prompt": "a lighthouse", "size": "1024x1024"}}' -o picture.json

from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key="demo")
print(client.chat.completions.create(model="llama-3.3-70b", max_tokens=40,
      messages=[{{"role": "user", "content": "hello"}}]).choices[0].message.content)

Add the header X-Data-Residency: local and a request never leaves this fleet.
`make load` ramps a demo of its own past its capacity and draws the picture.

Its policy is {folder}: edit it while it runs; a line below says what takes effect, or what is wrong where.
"""
FOLDER = str(DEMO_POLICIES.relative_to(ROOT))


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


def main() -> int:
    made = argparse.ArgumentParser(prog="make run", description=__doc__)
    made.add_argument("--traffic", action="store_true", help="send some: `make demo`")
    arguments = made.parse_args()
    console = Console()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        settings = load_settings()
        host, port = settings.host, settings.port
        bind(host, port).close()
        with start_fleet() as fleet:
            data = ROOT / settings.data_dir
            data.mkdir(mode=0o700, exist_ok=True)
            with start_gateway(DEMO_POLICIES, data, host=host, port=port, log=data / "gateway.log") as gateway:
                banner = SNIPPET.format(url=gateway.url, folder=FOLDER)
                console.print(banner, markup=False, highlight=False, soft_wrap=True)
                with traffic(gateway.url) if arguments.traffic else contextlib.nullcontext():
                    show(console, gateway.url, fleet, data / "gateway.log")
    except Stopped:
        console.print("stopped: gateway, store and simulated fleet have ended")
        return 0
    except (StartupFault, StackFault, SimFault) as fault:
        print(f"make run: {fault}", file=sys.stderr)
        return 2
    return 1


def start_fleet() -> SimFleet:
    """All that policies/demo names, at its ports; patient with a run that was just killed."""
    deadline = time.monotonic() + STARTING_SECONDS
    for port in range(demo_fleet.BASE_PORT, demo_fleet.BASE_PORT + demo_fleet.COUNT):
        while True:
            try:
                bind("127.0.0.1", port).close()
                break
            except StartupFault:
                if time.monotonic() > deadline:
                    raise StartupFault(f"port {port}, which the simulated fleet needs, is taken") from None
                time.sleep(0.1)
    return start(**demo_fleet.config())


@contextlib.contextmanager
def traffic(url: str, policies: Path = DEMO_POLICIES) -> Iterator[None]:
    """Waves of requests from a process of its own, for as long as the block lasts."""
    process = CRADLE.spawn("loadtests.demo_traffic", ["--url", url, "--policies", str(policies)], cwd=ROOT)
    try:
        yield
    finally:
        end(process, TRAFFIC_STOP_SECONDS)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Stopped


def show(console: Console, url: str, fleet: SimFleet, log: Path) -> None:
    """The live status until somebody stops it, and a line for each change of the policy. Raises StackFault where a
    process ends by itself."""
    shares, news, due = Shares(), PolicyNews(log, FOLDER), 0.0
    with httpx.Client(base_url=url, trust_env=False, timeout=2.0) as client, contextlib.ExitStack() as stack:
        live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        if live is not None:
            stack.enter_context(live)
        while True:
            try:
                page = read(client)
            except httpx.HTTPError:
                raise StackFault(f"the gateway has ended; see {log}") from None
            if fleet.ended:
                raise StackFault("the simulated fleet has ended; run `make run` again")
            shares.add(page)
            for said in news.lines():
                console.print(said, markup=False, highlight=False, soft_wrap=True)
            if live is not None:
                live.update(status(page, shares), refresh=True)
            elif time.monotonic() >= due:
                console.print(line(page, shares), soft_wrap=True)
                due = time.monotonic() + PLAIN_SECONDS
            time.sleep(REFRESH_SECONDS)


class Shares:
    """Outcomes of the last WINDOW_SECONDS, from counters that only grow."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, float]]] = deque()

    def add(self, page: FleetPage) -> None:
        now = time.monotonic()
        self._seen.append((now, dict(page.outcomes)))
        while self._seen[0][0] < now - WINDOW_SECONDS:
            self._seen.popleft()

    def recent(self) -> dict[str, float]:
        first, last = self._seen[0][1], self._seen[-1][1]
        return {outcome: count - first.get(outcome, 0.0) for outcome, count in last.items()}

    def text(self) -> str:
        recent = self.recent()
        total = sum(recent.values())
        if total == 0:
            return f"no requests in the last {WINDOW_SECONDS:.0f} s"
        parts = [f"{outcome} {count / total:.0%}" for outcome, count in sorted(recent.items()) if count]
        return f"last {WINDOW_SECONDS:.0f} s: {total:.0f} requests, " + ", ".join(parts)


def status(page: FleetPage, shares: Shares) -> Group:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("upstream", "running", "waiting"):
        table.add_column(title, justify="left" if title == "upstream" else "right")
    for title in ("leased", "KV cache", "GPU"):
        table.add_column(title)
    table.add_column("state")
    for (_, name), row in sorted(page.upstreams.items(), key=lambda item: (item[0][0] != "h100", item[0])):
        managed = "reading_age_seconds" not in row
        table.add_row(
            name,
            number(row.get("leases") if managed else row.get("running")),
            number(row.get("queue_depth")),
            Text("") if managed else bar(row.get("leased_share")),
            bar(row.get("kv_utilisation")),
            bar(row.get("gpu_utilisation")),
            Text("up", "green") if row.get("up") else Text("out", "red"),
        )
    money = "   ".join(f"{backend} ${usd:.4f} ({basis})" for (backend, basis), usd in sorted(page.cost.items()))
    return Group(table, Text(f"{shares.text()}   {money}"), note(page))


def note(page: FleetPage) -> Text:
    """The last line: what is wrong, or how to end."""
    if page.policy_fault:
        return Text("policies/demo does not compile, the last good one is in force; see .gateway/gateway.log", "red")
    if page.degraded:
        return Text("the store does not answer: degraded", "red")
    return Text(f"edit {FOLDER}/routing.yaml and watch; log: .gateway/gateway.log; Ctrl-C ends everything", "dim")


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def bar(share: float | None) -> Text:
    """A share 0..1 as a bar and a number; unknown stays empty."""
    if share is None:
        return Text("")
    full = round(min(1.0, share) * BAR_WIDTH)
    colour = "green" if share < 0.7 else "yellow" if share < 0.9 else "red"
    return Text.assemble(("█" * full, colour), ("░" * (BAR_WIDTH - full), "dim"), f" {share:4.0%}")


def line(page: FleetPage, shares: Shares) -> str:
    workers = [row for row in page.upstreams.values() if "reading_age_seconds" in row]
    running, waiting = (sum(row.get(key, 0.0) for row in workers) for key in ("running", "queue_depth"))
    return f"running {running:.0f}, waiting {waiting:.0f}; {shares.text()}"


if __name__ == "__main__":
    sys.exit(main())
