"""`gateway ledger`: what was spent, attempt by attempt, in a database."""

from __future__ import annotations

from typing import Any

import click

from gateway.cli.ledger_advice import advice, answer, saved
from gateway.cli.ledger_reports import source_options, sum_options, sums
from gateway.cli.ledger_upkeep import migrate, write


@click.group(invoke_without_command=True, short_help="The ledger of attempts and money.")
@source_options
@sum_options
@click.pass_context
def ledger(context: click.Context, /, **given: Any) -> None:
    """Sums over the ledger: one row per attempt, in SQLite or PostgreSQL (GATEWAY_LEDGER_URL)."""
    if context.invoked_subcommand is None:
        sums(context, given)


for command in (advice, answer, migrate, saved, write):
    ledger.add_command(command)
