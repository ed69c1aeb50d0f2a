"""The admin API of a running gateway, as commands use it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import click

URL = "http://127.0.0.1:8080"
SECONDS = 10.0
NOT_FOUND = 404
F = TypeVar("F", bound=Callable[..., Any])


def gateway_options(command: F) -> F:
    """`--url` and `--admin-key`, for `Gateway.of`."""
    key = click.option("--admin-key", help="Its admin key [GATEWAY_ADMIN_KEY].")
    return key(click.option("--url", default=URL, show_default=True, envvar="GATEWAY_URL", help=_URL_HELP)(command))


_URL_HELP = "A running gateway [GATEWAY_URL]."


class Gateway:
    """The admin API of a running gateway."""

    def __init__(self, context: click.Context, url: str, key: str | None) -> None:
        self._context, self._url = context, url.rstrip("/")
        given = key if key is not None else os.environ.get("GATEWAY_ADMIN_KEY")
        self._headers = {} if given is None else {"Authorization": f"Bearer {given}"}

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer; where it is a refusal, what is wrong is printed and the command ends with 1."""
        status, told = self.answer(method, path, body)
        if status >= 400:
            self._refused(told)
        return told

    def answer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and body, whatever they are; without an answer the command ends with 2."""
        import httpx

        try:
            answer = httpx.request(
                method, self._url + path, json=body, headers=self._headers, timeout=SECONDS, trust_env=False
            )
            return answer.status_code, answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            click.echo(f"no gateway answers at {self._url}; give its address with --url", err=True)
            self._context.exit(2)

    def _refused(self, told: Mapping[str, Any]) -> NoReturn:
        error = told.get("error") or {}
        for line in error.get("faults") or [error.get("message", "the gateway refused")]:
            click.echo(line, err=True)
        self._context.exit(1)
