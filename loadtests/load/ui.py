"""`make load-ui`: Locust's own web page, before a demo of its own or a gateway that runs. Ctrl-C ends everything."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

from gateway.errors import StartupFault
from loadtests.load.offer import LOCUSTFILE, STOP_SECONDS
from loadtests.load.target import TargetFault, running
from loadtests.nursery import die_with_parent
from loadtests.simfleet.harness import SimFault
from loadtests.stack import ROOT, StackFault, end

HOST, PORT = "127.0.0.1", 8089
"""Loopback only: whoever reaches that page can load any address. 8089 is Locust's usual port."""
FAULTS = (TargetFault, StartupFault, StackFault, SimFault)


def main() -> int:
    made = argparse.ArgumentParser(prog="python -m loadtests.load.ui", description=__doc__)
    made.add_argument("--url", default=os.environ.get("GATEWAY_URL") or None, help="default: a demo of its own")
    made.add_argument("--port", type=int, default=PORT)
    arguments = made.parse_args()
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        with running(arguments.url, os.environ.get("GATEWAY_KEY") or "demo") as target:
            return serve(target.url, arguments.port)
    except FAULTS as fault:
        print(f"make load-ui: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make load-ui: stopped; what it started has ended", file=sys.stderr)
        return 0


def serve(url: str, port: int) -> int:
    """Until it ends, which it does by itself only where the port is taken."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", url]
    command += ["--web-host", HOST, "--web-port", str(port), "--loglevel", "WARNING"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
        start_new_session=True,  # Ctrl-C is ours to hear
    )
    print(f"loading {url}: open http://{HOST}:{port}, choose a scenario (300 users) or `free`; Ctrl-C ends everything")
    try:
        return process.wait()
    finally:
        end(process, STOP_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
