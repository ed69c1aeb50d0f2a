"""Where and with what the figures were made: a figure without it is worth little."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from loadtests.stack import ROOT

PACKAGES = ("uvloop", "httptools", "uvicorn", "msgspec")


def describe() -> dict[str, str]:
    made = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{os.cpu_count()} x {cpu_name()}",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f} (1 min)",
        "python": platform.python_version(),
        "gateway": said(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
        "nginx": said(["nginx", "-v"]).rpartition("/")[2],
    }
    return made | {name: version(name) for name in PACKAGES}


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def said(command: list[str]) -> str:
    """What a program says of itself on either stream, or `absent`."""
    if shutil.which(command[0]) is None:
        return "absent"
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    return (done.stdout + done.stderr).strip() or "unknown"
