"""Writers that are killed at any point, one after another, leave each attempt in the ledger exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.money.till import STREAM
from gateway.store.connection import Store
from gateway.store.embedded import Embedded
from tests.ledger.reading import asked
from tests.ledger.rows import encoded, put, row
from tests.polling import until

WRITER = """
import asyncio, sys, time
from gateway.ledger import stream, writer
from gateway.ledger.database import Database
from gateway.store.connection import Store
stream.TURN_MS = 200
writer.FULL_ROWS, writer.CLAIM_SECONDS, writer.TURN_SECONDS, writer.POLL_SECONDS = 100, 0.05, 0.05, 0.01
store, ledger, name = sys.argv[1:]

async def main():
    client = Store(store, timeout=5.0)
    await client.check()
    database = Database(ledger, 24, lambda: time.time_ns() // 1000)
    store_ = database.store
    def slowly(*given):
        stored = store_(*given)
        print("committed", flush=True)
        return stored
    database.store = slowly
    await writer.Writer(stream.Stream(client, name, 100), database).run()

asyncio.run(main())
"""
ROUND, ROUNDS = 500, 3
"""Attempts that are put on the stream before each of so many writers starts."""


@contextmanager
def running(server: Embedded, url: str, number: int) -> Iterator[subprocess.Popen[bytes]]:
    """A writer in a process of its own, killed at the end of the block."""
    command = [sys.executable, "-c", WRITER, server.url, url, f"writer-{number}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def committed(process: subprocess.Popen[bytes]) -> None:
    """Until it has committed a batch, which it may not have acknowledged."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    await until(lambda: process.stdout is not None and bool(process.stdout.read(1)), 20.0)


async def fill(store: Store, number: int, chance: random.Random) -> None:
    """Every attempt at least once, some again and with another end: later, and in another month."""
    for start in range(number * ROUND, (number + 1) * ROUND, 50):
        rows = [row(number) for number in range(start, start + 50)]
        rows += [row(chance.randrange(start + 50), ended=chance.randrange(2**50)) for _ in range(10)]
        await put(store, *encoded(*rows))


async def test_each_attempt_exactly_once(valkey: Store, embedded: Embedded, url: str) -> None:
    chance = random.Random()
    for number in range(ROUNDS):
        await fill(valkey, number, chance)
        with running(embedded, url, number) as process:
            await committed(process)
            await asyncio.sleep(chance.random() * 0.03)  # where in its work it is hit
    with running(embedded, url, ROUNDS):
        async with asyncio.timeout(20.0):
            while await valkey.call("XLEN", STREAM):  # noqa: ASYNC110  # the store has no event for it
                await asyncio.sleep(0.02)
    found = Counter(name for (name,) in asked(url, "SELECT attempt FROM attempts"))
    assert found == Counter(f"owner:{number}" for number in range(ROUND * ROUNDS))
    assert (await valkey.call("XPENDING", STREAM, "writers"))[0] == 0
