"""`gateway jobs`: what is not over, and what an operator has to look at."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gateway.cli.budget import table
from gateway.cli.remote import Gateway, gateway_options

PATH = "/admin/v1/jobs"
HEAD = ("job", "state", "tenant", "model", "created", "upstream", "attempt")


@click.group(short_help="Films and other long generations.")
def jobs() -> None:
    """Generations that outlive their requests."""


@jobs.command("list", short_help="Those that are not over, or that need a look.")
@click.option("--unknown", is_flag=True, help="Those whose paid order was sent, or not: nobody knows. Exit 1 if any.")
@click.option("--json", "as_json", is_flag=True, help="As the admin API has it.")
@gateway_options
@click.pass_context
def list_jobs(
    context: click.Context, unknown: bool, as_json: bool, url: str, admin_key: str | None, ca: Path | None
) -> None:
    """Jobs of all tenants that are not over; those of unknown outcome are looked up at the API by their attempt."""
    state = "unknown_outcome" if unknown else "unfinished"
    rows = Gateway(context, url, admin_key, ca).ask("GET", f"{PATH}?state={state}")["jobs"]
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
    elif rows:
        for line in table([HEAD, *(cells(one) for one in rows)]):
            click.echo(line)
    else:
        click.echo("no such jobs", err=True)
    if unknown and rows:
        context.exit(1)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    newest = row["tries"][-1] if row["tries"] else {"upstream": "", "attempt": ""}
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(row["created"]))
    return (row["id"], row["state"], row["tenant"], row["model"], created, newest["upstream"], newest["attempt"])
