"""`gateway top`: the live feed of a running gateway in a terminal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.remote import CA_HELP, FILE, URL, URL_HELP, trusting
from gateway.errors import extra

if TYPE_CHECKING:
    from gateway.cli.top_feed import Line

ONCE_SECONDS = 10.0
"""For all kinds of events to come, money last: the first question begins the ledger's reader. What has not come by then
is not shown."""
MISSING = f"gateway top needs textual: {extra('top')}, or use --once"


@click.command(short_help="Fleet, flow, latency and money, live.")
@click.option("--url", default=URL, show_default=True, envvar="GATEWAY_URL", help=URL_HELP)
@click.option("--key", "--admin-key", help="Its admin key [GATEWAY_ADMIN_KEY].")
@click.option("--ca", type=FILE, help=CA_HELP)
@click.option("--once", is_flag=True, help="Print one frame as plain text and end: for scripts.")
@click.pass_context
def top(context: click.Context, url: str, key: str | None, ca: Path | None, once: bool) -> None:
    """What a running gateway does now, in a terminal. Keys: ? tells them.

    Ends with 1 where the gateway refuses (a wrong key), with 2 where none answers or textual is missing.
    """
    from gateway.cli.top_feed import Away, Line, Refused

    given = key or os.environ.get("GATEWAY_ADMIN_KEY")
    line = Line(url.rstrip("/"), {"Authorization": f"Bearer {given}"} if given else {}, trusting(ca))
    try:
        if once:
            click.echo("\n".join(one_frame(line)))
        else:
            show(context, line)
    except Refused as fault:
        click.echo(str(fault), err=True)
        context.exit(1)
    except Away as fault:
        click.echo(str(fault), err=True)
        context.exit(2)


def one_frame(line: Line) -> list[str]:
    """Raises Refused or Away."""
    import asyncio

    from gateway.cli.top_text import frame
    from gateway.console.live.feed import KINDS
    from gateway.console.live.told import Told

    told = Told()

    async def look() -> None:
        async for kind, data in line.events():
            told.take(kind, data)
            if told.last.keys() >= set(KINDS):
                return

    try:
        asyncio.run(asyncio.wait_for(look(), ONCE_SECONDS))
    except TimeoutError:
        if not told.whole:
            from gateway.cli.top_feed import Away

            raise Away(f"the gateway at {line.url} tells nothing") from None
    return frame(told)


def show(context: click.Context, line: Line) -> None:
    """Raises Refused or Away, where it does not even begin."""
    try:
        from gateway.cli.top_app import Top
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        click.echo(MISSING, err=True)
        context.exit(2)
    app = Top(line)
    app.run()
    if app.fault is not None:
        raise app.fault
