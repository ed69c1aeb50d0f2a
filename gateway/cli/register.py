"""`gateway register`: runs beside a worker and keeps it registered at a gateway until it is stopped."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from gateway.cli.remote import SECONDS, URL

PATH = "/admin/v1/workers"
TTL_SECONDS = 15.0
BEATS = 3
"""Heartbeats within the time to live: two of them may be lost."""
RETRY_SECONDS = 1.0
LASTING = frozenset({400, 401, 403, 404, 409})
"""What the first call must not be answered with: it would be the same the next time."""


@click.command(short_help="Keep a worker registered at a gateway.")
@click.option("--url", default=URL, show_default=True, envvar="GATEWAY_URL", help="The gateway [GATEWAY_URL].")
@click.option("--backend", required=True, help="The backend that it joins; its `discover` has `registration: true`.")
@click.option("--worker-url", required=True, help="Where the gateway finds it, such as http://10.20.0.11:8000.")
@click.option(
    "--token-file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the workers' token (GATEWAY_WORKER_TOKEN of the gateway).",
)
@click.option("--name", help="What it is called; default: by backend and address.")
@click.option(
    "--ttl", default=TTL_SECONDS, show_default=True, help="Seconds after which it is gone if this ends badly."
)
@click.pass_context
def register(
    context: click.Context, url: str, backend: str, worker_url: str, token_file: Path, name: str | None, ttl: float
) -> None:
    """Registers the worker, says again and again that it is there, and lets it leave on SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    body = {"backend": backend, "url": worker_url, "ttl_s": ttl, **({"name": name} if name else {})}
    context.exit(Registrant(url.rstrip("/"), token_file, body).run(stop))


class Registrant:
    """The token is read anew for each call: it may be changed under a running worker."""

    def __init__(self, url: str, token_file: Path, body: dict[str, Any]) -> None:
        self._url, self._token_file, self._body = url, token_file, body
        self._name: str | None = None
        self._ticket: str | None = None
        self._said = ""

    def run(self, stop: threading.Event) -> int:
        """Until `stop`; then it leaves. The exit code."""
        while not stop.is_set():
            status = self._beat()
            if self._name is None and status in LASTING:
                return 1
            stop.wait(self._body["ttl_s"] / BEATS if status is not None and status < 400 else RETRY_SECONDS)
        if self._name is not None and self._ticket is not None:
            self._ask("DELETE", f"{PATH}/{self._name}", headers={"X-Gateway-Ticket": self._ticket})
            self._say(f"{self._name} has left")
        return 0

    def _beat(self) -> int | None:
        """The status of the answer; None without one."""
        status, told = self._ask("POST", PATH, json={**self._body, "ticket": self._ticket})
        if status is None:
            self._say("no gateway answers; trying again")
        elif status >= 400:
            self._say(f"refused ({status}): {(told.get('error') or {}).get('message', 'no reason given')}")
        else:
            self._name, self._ticket = told["name"], told.get("ticket") or self._ticket
            self._say(f"registered as {told.get('upstream') or self._name}")
        return status

    def _ask(self, method: str, path: str, **given: Any) -> tuple[int | None, dict[str, Any]]:
        import httpx

        headers = {"Authorization": f"Bearer {self._token_file.read_text().strip()}", **given.pop("headers", {})}
        try:
            answer = httpx.request(method, self._url + path, headers=headers, timeout=SECONDS, trust_env=False, **given)
            return answer.status_code, answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return None, {}

    def _say(self, text: str) -> None:
        """Once, not at every beat."""
        if text != self._said:
            click.echo(text, err=True)
            self._said = text
