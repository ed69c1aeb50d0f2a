"""`gateway ledger`: what was spent, attempt by attempt, in a database."""

from __future__ import annotations

import click

from gateway.cli.ledger_upkeep import migrate, write


@click.group(short_help="The ledger of attempts and money.")
def ledger() -> None:
    """One row per attempt, in SQLite or PostgreSQL (GATEWAY_LEDGER_URL)."""


ledger.add_command(migrate)
ledger.add_command(write)
