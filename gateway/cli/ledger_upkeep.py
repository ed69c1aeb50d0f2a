"""`gateway ledger migrate` and `write`: the ledger's schema, and the process that writes it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gateway.ledger.database import Database
    from gateway.ledger.writer import Writer
    from gateway.settings import Settings

NICE = 5
"""A writer beside a gateway: when both want the CPU, requests go first."""


@click.command(short_help="Bring the schema up to date.")
def migrate() -> None:
    """Bring the ledger's schema to what this gateway writes. A running gateway does this by itself."""
    from gateway.errors import StartupFault
    from gateway.ledger.faults import DatabaseFault

    settings = _settings()
    database = _database(settings)
    try:
        revision = database.open()
    except DatabaseFault as fault:
        raise StartupFault(f"the ledger at {database.where}: {fault}") from None
    finally:
        database.close()
    click.echo(f"ok: {database.where} has schema {revision}")


@click.command(short_help="Write rows from the store into the ledger.")
@click.option("--child", is_flag=True, hidden=True, help="Ends with its standard input: started by a gateway.")
def write(child: bool) -> None:
    """Write the ledger until SIGTERM. `gateway serve` starts one of these by itself; needs GATEWAY_REDIS_URL."""
    from gateway.errors import StartupFault

    settings = _settings()
    if settings.redis_url is None:
        raise StartupFault("GATEWAY_REDIS_URL must name the gateways' store; one that is embedded has its own writer")
    if child:
        os.nice(NICE)
    asyncio.run(_write(settings, settings.redis_url.get_secret_value(), child))


def _settings() -> Settings:
    from gateway.settings import load_settings
    from gateway.telemetry import set_up_logs

    settings = load_settings()
    set_up_logs(settings.log_level)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # before it is imported: it tells of its plugins then
    return settings


async def _write(settings: Settings, url: str, child: bool) -> None:
    from gateway.fleet.leases import new_owner
    from gateway.ledger.stream import STORE_SECONDS, Stream
    from gateway.ledger.writer import Writer
    from gateway.store.connection import Store

    store = Store(url, timeout=STORE_SECONDS, drains=True)
    await store.check()
    writer = Writer(Stream(store, new_owner()), _database(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, writer.stop)
    if child:
        _end_with_input(writer)
    await writer.run()
    await store.aclose()


def _end_with_input(writer: Writer) -> None:
    loop, source = asyncio.get_running_loop(), sys.stdin.fileno()

    def heard() -> None:
        if not os.read(source, 1):
            loop.remove_reader(source)
            writer.stop()

    loop.add_reader(source, heard)


def _database(settings: Settings) -> Database:
    from gateway.ledger.database import Database
    from gateway.ledger.place import ledger_url

    return Database(ledger_url(settings), settings.ledger_months, lambda: time.time_ns() // 1000)
