"""A network namespace with one cable for each name: a gateway in it reaches each of the others by a cable that can be
pulled. Needs iproute2 and the right to use it."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from loadtests.chaos.scenario import NotHere

PREFIX = "chaos"
FIRST_NET = 10
SECOND_NETS = range(64, 192)
"""10.X.N.0/30 for the N-th cable: .1 is outside, .2 inside. X is drawn by process: two may run at the same time."""


class Namespace:
    """Open it with `with`. Raises NotHere where this machine cannot."""

    def __init__(self, *cables: str) -> None:
        self.name = f"{PREFIX}{os.getpid()}"
        self._cables = {cable: number + 1 for number, cable in enumerate(cables)}
        self._net = f"{FIRST_NET}.{SECOND_NETS[os.getpid() % len(SECOND_NETS)]}"
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        if shutil.which("ip") is None or os.geteuid() != 0:
            raise NotHere("needs root and `ip` (iproute2)")
        with self._closing as stack:
            self._add(stack)
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def prefix(self) -> list[str]:
        """What a command begins with to run inside."""
        return ["ip", "netns", "exec", self.name]

    @property
    def networks(self) -> list[str]:
        return [f"{self._net}.0.0/16"]

    def outside(self, cable: str) -> str:
        return f"{self._net}.{self._cables[cable]}.1"

    def inside(self, cable: str) -> str:
        return f"{self._net}.{self._cables[cable]}.2"

    def pull(self, cable: str) -> None:
        """What is sent from now on is lost without a word."""
        self._ip("link", "set", self._ends(cable)[0], "down")

    def plug(self, cable: str) -> None:
        self._ip("link", "set", self._ends(cable)[0], "up")

    def resolve_at(self, server: str) -> None:
        """Whatever is started inside from now on asks `server` for names: `ip netns exec` puts this file in place."""
        folder = Path("/etc/netns") / self.name
        folder.mkdir(parents=True)
        self._closing.callback(shutil.rmtree, folder)
        (folder / "resolv.conf").write_text(f"nameserver {server}\n")

    def _add(self, stack: ExitStack) -> None:
        for left in self._left_behind():
            self._ip("netns", "del", left)
        try:
            self._ip("netns", "add", self.name)
        except subprocess.CalledProcessError as fault:
            raise NotHere(f"`ip netns add` is not allowed here: {fault.stderr.decode().strip()}") from None
        stack.callback(self._ip, "netns", "del", self.name)
        self._ip("-n", self.name, "link", "set", "lo", "up")
        for cable in self._cables:
            out, within = self._ends(cable)
            self._ip("link", "add", out, "type", "veth", "peer", "name", within, "netns", self.name)
            self._ip("addr", "add", f"{self.outside(cable)}/30", "dev", out)
            self._ip("-n", self.name, "addr", "add", f"{self.inside(cable)}/30", "dev", within)
            self._ip("link", "set", out, "up")
            self._ip("-n", self.name, "link", "set", within, "up")

    def _left_behind(self) -> list[str]:
        """Namespaces of runs that were killed."""
        told = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
        names = [line.split()[0] for line in told.splitlines() if line.startswith(PREFIX)]
        return [name for name in names if not Path(f"/proc/{name.removeprefix(PREFIX)}").exists()]

    def _ends(self, cable: str) -> tuple[str, str]:
        number = self._cables[cable]
        return f"co{os.getpid() % 100_000}-{number}", f"ci{os.getpid() % 100_000}-{number}"

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)
