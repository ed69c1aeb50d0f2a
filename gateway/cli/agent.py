"""`gateway agent`: tell a gateway of this machine's GPUs where no DCGM exporter runs."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gateway.agent.heartbeat import Reader

URL = "http://127.0.0.1:8080"
INTERVAL = click.FloatRange(0.1, 2.0)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Tell a gateway of this machine's GPUs.")
@click.option("--url", default=URL, show_default=True, envvar="GATEWAY_URL", help="The gateway [GATEWAY_URL].")
@click.option("--token-file", type=FILE, help="File with the agent token; without it GATEWAY_AGENT_TOKEN holds it.")
@click.option(
    "--host", default=socket.gethostname, help="This machine in backends.yaml: the `hostname` of its workers."
)
@click.option("--interval", type=INTERVAL, default=0.5, show_default=True, help="Seconds between beats.")
@click.option("--ca", type=FILE, help="Authorities that an https gateway is verified against, instead of the usual.")
@click.option("--replay", type=FILE, help="Tell of recorded GPUs, one JSON heartbeat a line, not of this machine's.")
def agent(url: str, token_file: Path | None, host: str, interval: float, ca: Path | None, replay: Path | None) -> None:
    """Read NVML and tell the gateway, until SIGTERM. Needs the extra `agent` and the NVIDIA driver."""
    import httpx

    from gateway.agent.heartbeat import TIMEOUT_SECONDS, Heartbeats
    from gateway.errors import StartupFault

    if token_file is None and not os.environ.get("GATEWAY_AGENT_TOKEN"):
        raise StartupFault("give --token-file, or set GATEWAY_AGENT_TOKEN as on the gateway")
    reader = reader_of(replay)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    verify = ssl.create_default_context(cafile=ca)
    try:
        # no proxies from the environment: the token is for the gateway alone
        with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, verify=verify) as client:
            Heartbeats(url, host, lambda: token_of(token_file), client, click.echo).run(reader, interval, stop)
    finally:
        reader.close()


def token_of(file: Path | None) -> str:
    return os.environ["GATEWAY_AGENT_TOKEN"] if file is None else file.read_text().strip()


def reader_of(replay: Path | None) -> Reader:
    """Raises StartupFault where nothing can be read here."""
    from gateway.agent.heartbeat import Recorded
    from gateway.agent.nvml import NvmlReader
    from gateway.errors import StartupFault, extra

    if replay is not None:
        return Recorded(replay)
    try:
        import pynvml
    except ImportError:
        raise StartupFault(f"nvidia-ml-py is not installed: {extra('agent')}") from None
    return NvmlReader(pynvml)
