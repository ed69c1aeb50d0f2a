"""The admin API of a running gateway, as commands use it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from gateway.errors import StartupFault

URL = "http://127.0.0.1:8080"
SECONDS = 10.0
NOT_FOUND = 404
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
CA_HELP = "Authorities that an https gateway is verified against, instead of the usual."
F = TypeVar("F", bound=Callable[..., Any])


def gateway_options(command: F) -> F:
    """`--url`, `--admin-key` and `--ca`, for `Gateway`."""
    key = click.option("--admin-key", help="Its admin key [GATEWAY_ADMIN_KEY].")
    command = click.option("--ca", type=FILE, help=CA_HELP)(command)
    return key(click.option("--url", default=URL, show_default=True, envvar="GATEWAY_URL", help=URL_HELP)(command))


URL_HELP = "A running gateway [GATEWAY_URL]."


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Raises StartupFault where the file holds no certificates."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError:
        raise StartupFault(f"--ca: {ca} holds no certificates in PEM form") from None


def untrusted(fault: BaseException | None) -> str | None:
    """What is wrong with TLS, where `fault` comes of that."""
    while fault is not None:
        if isinstance(fault, ssl.SSLCertVerificationError):
            return f"the gateway's certificate is not trusted ({fault.verify_message}); name its authority with --ca"
        if isinstance(fault, ssl.SSLError):
            return f"TLS fails ({fault.reason or 'no reason given'}); is the gateway spoken to by https?"
        fault = fault.__cause__ or fault.__context__
    return None


class Gateway:
    """The admin API of a running gateway."""

    def __init__(self, context: click.Context, url: str, key: str | None, ca: Path | None = None) -> None:
        self._context, self._url, self._verify = context, url.rstrip("/"), trusting(ca)
        given = key or os.environ.get("GATEWAY_ADMIN_KEY")  # an empty one is none: no header may end in a blank
        self._headers = {"Authorization": f"Bearer {given}"} if given else {}

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer; where it is a refusal, what is wrong is printed and the command ends with 1."""
        status, told = self.answer(method, path, body)
        if status >= 400:
            self._refused(told)
        return told

    def answer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and body, whatever they are; without an answer the command ends with 2."""
        import httpx

        asked: dict[str, Any] = {"json": body, "headers": self._headers, "timeout": SECONDS, "verify": self._verify}
        try:
            answer = httpx.request(method, self._url + path, trust_env=False, **asked)
            return answer.status_code, answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as fault:
            said = untrusted(fault) or f"no gateway answers at {self._url}; give its address with --url"
            click.echo(said, err=True)
            self._context.exit(2)

    def _refused(self, told: Mapping[str, Any]) -> NoReturn:
        error = told.get("error") or {}
        for line in error.get("faults") or [error.get("message", "the gateway refused")]:
            click.echo(line, err=True)
        self._context.exit(1)
