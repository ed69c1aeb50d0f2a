"""`gateway budget`: what is used, held and left of every limit and budget of a running gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gateway.cli.remote import Gateway, gateway_options

PATH = "/admin/v1/budgets"
HEAD = ("name", "per", "cap", "used", "held", "left", "resets")


@click.command(short_help="What is left of limits and budgets.")
@click.option("--json", "as_json", is_flag=True, help="As the admin API has it; amounts of USD are micro-dollars.")
@gateway_options
@click.pass_context
def budget(context: click.Context, as_json: bool, url: str, admin_key: str | None, ca: Path | None) -> None:
    """Every limit and budget of the running gateway, over all its replicas; exit 1 where a hard one is used up."""
    rows = Gateway(context, url, admin_key, ca).ask("GET", PATH)["budgets"]
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
    elif not rows:
        click.echo("no limits and no budgets: see docs/budgets.md", err=True)
    else:
        for line in table([HEAD, *(cells(one) for one in rows)]):
            click.echo(line)
    if any(one["unit"] == "usd" and one["hard"] and one["left"] <= 0 for one in rows):
        context.exit(1)


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    amounts = [shown(row[key], row["unit"]) for key in ("cap", "used", "held", "left")]
    soft = "" if row["hard"] else " (soft)"
    return (row["name"] + soft, row["per"], *amounts, row["resets"] or "never")


def shown(amount: int, unit: str) -> str:
    from gateway.money.keeping import dollars

    return f"${dollars(amount)}" if unit == "usd" else str(amount)


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as they must be; numbers to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    left = (0, 1, len(widths) - 1)
    return [
        "  ".join(cell.ljust(width) if at in left else cell.rjust(width) for at, (cell, width) in pairs).rstrip()
        for row in rows
        for pairs in [list(enumerate(zip(row, widths, strict=True)))]
    ]
