"""`gateway drain`: a worker takes nothing new, on all replicas, until it is told otherwise."""

from __future__ import annotations

import time
from pathlib import Path

import click

from gateway.cli.remote import NOT_FOUND, Gateway, gateway_options

PATH = "/admin/v1/workers"
POLL_SECONDS = 0.5
SETTLED_SECONDS = 1.0
"""After so long every replica knows: each looks four times a second, and its snapshot follows as often."""


@click.command(short_help="Let a worker become empty; --undo: use it again.")
@click.argument("name")
@click.option("--undo", is_flag=True, help="It takes requests again.")
@click.option("--wait", is_flag=True, help="Return when nothing runs on it any more.")
@click.option("--reason", default="", help="Why; shown to whoever asks.")
@gateway_options
@click.pass_context
def drain(
    context: click.Context,
    name: str,
    undo: bool,
    wait: bool,
    reason: str,
    url: str,
    admin_key: str | None,
    ca: Path | None,
) -> None:
    """The upstream NAME takes nothing new, on all replicas and after restarts; what runs on it ends by itself."""
    if undo and (wait or reason):
        raise click.UsageError("--undo takes neither --wait nor --reason")
    gateway = Gateway(context, url, admin_key, ca)
    if undo:
        was = gateway.ask("POST", f"{PATH}/{name}/undrain")["was_drained"]
        click.echo(f"{name} takes requests again" if was else f"{name} was not drained")
        return
    inflight = gateway.ask("POST", f"{PATH}/{name}/drain", {"reason": reason})["inflight"]
    click.echo(f"{name} takes nothing new until `gateway drain {name} --undo`; {inflight} on it now")
    if wait:
        empty(gateway, name)
        click.echo(f"{name} is empty")


def empty(gateway: Gateway, name: str) -> None:
    """Returns when no replica has a request on it, or when it is gone altogether."""
    settled = time.monotonic() + SETTLED_SECONDS
    while True:
        time.sleep(POLL_SECONDS)
        late = time.monotonic() >= settled
        status, told = gateway.answer("GET", f"{PATH}/{name}")
        if status == NOT_FOUND or (late and told.get("inflight") == 0):
            return
