"""`gateway serve`: the gateway process."""

from __future__ import annotations

import gc
from pathlib import Path

import click

GC_THRESHOLD = 50_000
"""Allocations between collections: the path makes little that cycles, and the default 700 shows in the p99."""


@click.command()
@click.option("--policies", type=click.Path(path_type=Path), help="Policy folder [GATEWAY_POLICIES].")
@click.option("--host", help="Address to listen on [GATEWAY_HOST].")
@click.option("--port", type=int, help="Port to listen on [GATEWAY_PORT].")
def serve(policies: Path | None, host: str | None, port: int | None) -> None:
    """Serve the policy folder: OpenAI paths under /v1, /metrics, /healthz, /readyz, /docs."""
    from gateway.app import create_app
    from gateway.cli.listen import run
    from gateway.settings import load_settings
    from gateway.telemetry import set_up_logs

    settings = load_settings(policies=policies, host=host, port=port)
    set_up_logs(settings.log_level)
    app = create_app(settings)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    run(app, settings)
