"""`python -m loadtests.downloads`: 500 downloads at once; fails where their memory or their fairness is not what it
should be."""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
from pathlib import Path

import click

from loadtests.downloads.bench import measure

MB = 1 << 20
KB_PER_DOWNLOAD = 256
"""One piece of 64 KiB, what the transport holds of the one before, and what a connection costs anyway."""
MOST_RATIO = 3.0
"""Of the slowest to the fastest."""
FILES = 4096


@click.command()
@click.option("--clients", default=500, show_default=True)
@click.option("--mb", default=8, show_default=True, help="Size of the film.")
def main(clients: int, mb: int) -> None:
    """Downloads one film many times at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))  # the gateway inherits it
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(Path(folder), clients, mb * MB))
    click.echo("\n".join(result.lines()))
    if result.growth > clients * KB_PER_DOWNLOAD * 1024 or result.fairness > MOST_RATIO:
        sys.exit(f"more than {KB_PER_DOWNLOAD} KB per download, or slowest/fastest above {MOST_RATIO:g}")


if __name__ == "__main__":
    main()
