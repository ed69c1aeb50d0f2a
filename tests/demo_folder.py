"""The demo's policy folder, for simulated servers at other ports than its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from loadtests import demo_fleet
from loadtests.simfleet.harness import SimFleet
from loadtests.stack import DEMO_POLICIES


def ports(fleet: SimFleet) -> dict[int, int]:
    """The demo's port -> that of the same server here."""
    named = demo_fleet.config()
    pairs = [
        *zip(named["workers"], fleet.workers, strict=True),
        *zip(named["managed"], fleet.managed, strict=True),
        *zip(named["providers"], fleet.providers, strict=True),
    ]
    pages = {demo_fleet.BASE_PORT + demo_fleet.GPUS + i: page.port for i, page in enumerate(fleet.dcgm)}
    return {given["port"]: server.port for given, server in pairs} | pages


def copied(folder: Path, fleet: SimFleet) -> None:
    """`folder` must not exist yet."""
    shutil.copytree(DEMO_POLICIES, folder)
    for file in folder.glob("*.yaml"):
        text = file.read_text()
        for there, here in ports(fleet).items():
            text = text.replace(f"127.0.0.1:{there}", f"localhost-{here}")
        file.write_text(text.replace("localhost-", "127.0.0.1:"))
