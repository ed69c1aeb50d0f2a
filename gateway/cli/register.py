"""`gateway register`: runs beside a worker and keeps it registered at a gateway until it is stopped."""

from __future__ import annotations

import os
import signal
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.cli.remote import CA_HELP, FILE, SECONDS, URL, trusting, untrusted
from gateway.errors import StartupFault

PATH = "/admin/v1/workers"
TTL_SECONDS = 15.0
BEATS = 3
"""Heartbeats within the time to live: two of them may be lost."""
RETRY_SECONDS = 1.0
NO_GATEWAY = "what answers there is not a gateway"
T = TypeVar("T")
LASTING = frozenset({400, 401, 403, 404, 409})
"""What the first call must not be answered with: it would be the same the next time."""


@click.command(short_help="Keep a worker registered at a gateway.")
@click.option("--url", default=URL, show_default=True, envvar="GATEWAY_URL", help="The gateway [GATEWAY_URL].")
@click.option("--backend", required=True, help="The backend that it joins; its `discover` has `registration: true`.")
@click.option("--worker-url", required=True, help="Where the gateway finds it, such as http://10.20.0.11:8000.")
@click.option("--token-file", type=FILE, help="File with the workers' token; without it GATEWAY_WORKER_TOKEN holds it.")
@click.option("--ca", type=FILE, help=CA_HELP)
@click.option("--name", help="What it is called; default: by backend and address.")
@click.option(
    "--ttl", default=TTL_SECONDS, show_default=True, help="Seconds after which it is gone if this ends badly."
)
@click.pass_context
def register(
    context: click.Context,
    url: str,
    backend: str,
    worker_url: str,
    token_file: Path | None,
    ca: Path | None,
    name: str | None,
    ttl: float,
) -> None:
    """Registers the worker, says again and again that it is there, and lets it leave on SIGTERM or SIGINT."""
    if token_file is None and not os.environ.get("GATEWAY_WORKER_TOKEN"):
        raise StartupFault("give --token-file, or set GATEWAY_WORKER_TOKEN as on the gateway")
    verify, stop = trusting(ca), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    body = {"backend": backend, "url": worker_url, "ttl_s": ttl, **({"name": name} if name else {})}
    context.exit(Registrant(url.rstrip("/"), lambda: token_of(token_file), body, verify).run(stop))


def token_of(file: Path | None) -> str:
    return os.environ["GATEWAY_WORKER_TOKEN"] if file is None else file.read_text().strip()


class Unheard(Exception):
    """Nothing that a gateway said. The message tells why, without the token."""


class Registrant:
    """`token` is asked for each call: it may be changed under a running worker."""

    def __init__(self, url: str, token: Callable[[], str], body: dict[str, Any], verify: ssl.SSLContext) -> None:
        self._url, self._token, self._body, self._verify = url, token, body, verify
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
            self._leave(self._name, self._ticket)
        return 0

    def _leave(self, name: str, ticket: str) -> None:
        try:
            status, _ = self._ask("DELETE", f"{PATH}/{name}", headers={"X-Gateway-Ticket": ticket})
        except Unheard:
            status = None
        left = status is not None and status < 400
        self._say(f"{name} has left" if left else f"{name} leaves when its time is over")

    def _beat(self) -> int | None:
        """The status of the answer; None without one."""
        try:
            status, told = self._ask("POST", PATH, json={**self._body, "ticket": self._ticket})
            if status >= 400:
                self._say(f"refused ({status}): {_of(_of(told, 'error', dict), 'message', str)}")
            else:
                self._name, self._ticket = _of(told, "name", str), told.get("ticket") or self._ticket
                self._say(f"registered as {told.get('upstream') or self._name}")
        except Unheard as why:
            self._say(f"{why}; trying again")
            return None
        return status

    def _ask(self, method: str, path: str, **given: Any) -> tuple[int, dict[str, Any]]:
        """Raises Unheard."""
        import httpx

        try:
            headers = {"Authorization": f"Bearer {self._token()}", **given.pop("headers", {})}
        except (OSError, UnicodeError):
            raise Unheard("the token cannot be read") from None
        asked = {"headers": headers, "timeout": SECONDS, "trust_env": False, "verify": self._verify, **given}
        try:
            answer = httpx.request(method, self._url + path, **asked)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as fault:
            raise Unheard(untrusted(fault) or "no gateway answers") from None
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise Unheard(NO_GATEWAY)
        return answer.status_code, told

    def _say(self, text: str) -> None:
        """Once, not at every beat."""
        if text != self._said:
            click.echo(text, err=True)
            self._said = text


def _of(told: dict[str, Any], key: str, kind: type[T]) -> T:
    """Raises Unheard."""
    value = told.get(key)
    if not isinstance(value, kind):
        raise Unheard(NO_GATEWAY)
    return value
