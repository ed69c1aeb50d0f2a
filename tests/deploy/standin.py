"""Services of docker-compose.yml as processes of this machine, for want of a container engine.

Each gets a loopback address of its own in place of its name, so all keep their ports; a folder in place of its volumes,
its configs, the secrets that it is given, and its /tmp; and then the very entry point, command and variables of image
and service, in which these names and paths are exchanged. What this cannot show: users, capabilities, a read-only root.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gateway.store.embedded import _bundled
from loadtests.children import CRADLE, Process
from tests.deploy.written import ROOT, compose, environment, exec_form, lineage

PROGRAMS: Final = {
    "gateway": [sys.executable, "-m", "gateway"],
    "python": [sys.executable],
    "valkey-server": [str(_bundled())],
    "nginx": [shutil.which("nginx") or "nginx"],
}
RESOLVES: Final = (1, 27, 3)
"""The first nginx that follows a name in an `upstream`."""
HEALTHY_SECONDS, STOP_SECONDS = 60.0, 40.0
POLL_SECONDS = 0.3
_END = r"(?=[/\s\"';,}]|$)"
"""What may follow a path: not the rest of a longer name."""


class Standin:
    """One service. `given`: contents of secrets, by name."""

    def __init__(self, name: str, folder: Path, addresses: Mapping[str, str], given: Mapping[str, str]) -> None:
        self.name, self.address = name, addresses[name]
        self.service: dict[str, Any] = compose({"POLICIES": str(folder / "policies")})["services"][name]
        self.stage = self.service.get("build", {}).get("target")
        self._folder, self._addresses = folder / name, dict(addresses)
        self._paths = {"/tmp": self._folder / "tmp", "/run/secrets": self._folder / "secrets", "/srv": ROOT}
        for path in list(self._paths.values())[:2]:
            path.mkdir(parents=True, mode=0o755)
        self._mount()
        for secret in self.service.get("secrets", []):
            (self._folder / "secrets" / secret).write_text(self.exchanged(given[secret]))
        self.process: Process | None = None

    def _mount(self) -> None:
        sources = compose()["configs"]
        for volume in self.service.get("volumes", []):
            source, at, *_ = volume.split(":")
            shared = self._folder.parent / "volumes" / source
            self._paths[at] = self._folder / "policies" if source.startswith("/") else shared
            shared.mkdir(parents=True, exist_ok=True) if not source.startswith("/") else None
        for config in self.service.get("configs", []):
            self._paths[config["target"]] = self._folder / "configs" / Path(config["target"]).name
        for config in self.service.get("configs", []):
            at = self._paths[config["target"]]
            at.parent.mkdir(exist_ok=True)
            text = (ROOT / sources[config["source"]]["file"]).read_text()
            at.write_text(self.exchanged(for_this_nginx(text) if config["source"] == "nginx" else text))
        for volume in self.service.get("volumes", []):
            source, at, *_ = volume.split(":")
            if source.startswith("/"):
                self._paths[at].mkdir()
                for file in Path(source).glob("*.yaml"):
                    (self._paths[at] / file.name).write_text(self.exchanged(file.read_text()))

    def exchanged(self, text: str) -> str:
        """Names of services, addresses and paths of the container by what stands for them here, in one pass."""
        names = "|".join(sorted(self._addresses, key=len, reverse=True))
        paths = "|".join(re.escape(path) for path in sorted(self._paths, key=len, reverse=True))
        pattern = (
            rf"(?P<name>(?<=called: )(?:{names})$|\b(?:{names})(?=:\d))|(?P<any>\b0\.0\.0\.0\b|\b127\.0\.0\.1\b)"
            rf"|(?P<net>172\.30\.40\.0/24)|(?<![\w/])(?P<path>{paths}){_END}"
        )

        def exchange(found: re.Match[str]) -> str:
            if found["name"]:
                return self._addresses[found["name"]]
            if found["any"]:
                return self.address
            return "127.0.0.0/8" if found["net"] else str(self._paths[found["path"]])

        return re.sub(pattern, exchange, text, flags=re.M)

    def environ(self) -> dict[str, str]:
        image = environment(self.stage) if self.stage else {}
        given = {**image, **{key: str(value) for key, value in self.service.get("environment", {}).items()}}
        kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        return {key: self.exchanged(value) for key, value in given.items()} | kept

    def argv(self) -> list[str]:
        entry = self.service.get("entrypoint") or (exec_form(self.stage, "ENTRYPOINT") if self.stage else [])
        command = self.service.get("command") or exec_form(self.stage, "CMD")
        first, *rest = [*entry, *command]
        return [*PROGRAMS[first], *(self.exchanged(word) for word in rest)]

    def start(self) -> None:
        cwd = self._folder / "tmp"
        if self.stage:
            cwd = Path(self.exchanged([rest for each in lineage(self.stage) for rest in each.all("WORKDIR")][-1]))
        program, *words = self.argv()
        with (self._folder / "log").open("wb") as log:
            if program == sys.executable and words[0] == "-m":  # the suite has a process that has loaded these
                self.process = CRADLE.spawn(
                    words[1], words[2:], cwd=cwd, env=self.environ(), stdout=log.fileno(), stderr=log
                )
            else:
                self.process = subprocess.Popen([program, *words], cwd=cwd, env=self.environ(), stdout=log, stderr=log)

    def healthcheck(self) -> list[str]:
        """The service's own, else its image's."""
        if "healthcheck" in self.service:
            words: list[str] = self.service["healthcheck"]["test"][1:]
        else:
            (said,) = [rest for each in lineage(self.stage) for rest in each.all("HEALTHCHECK")]
            words = json.loads(said.partition("CMD ")[2])
        first, *rest = words
        return [*PROGRAMS[first], *(self.exchanged(word) for word in rest)]

    def healthy(self) -> bool:
        return subprocess.run(self.healthcheck(), env=self.environ(), capture_output=True).returncode == 0

    def until_healthy(self) -> None:
        """Raises TimeoutError with what the service said."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while not self.healthy():
            if not self.running() or time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is not healthy: {self.said()[-2000:]}")
            time.sleep(POLL_SECONDS)

    def secret(self, name: str) -> str:
        return (self._folder / "secrets" / name).read_text()

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def said(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def ask_to_end(self) -> None:
        """By the signal that Docker sends."""
        assert self.process is not None
        image = [rest for each in lineage(self.stage) for rest in each.all("STOPSIGNAL")] if self.stage else []
        name = self.service.get("stop_signal") or (image[-1] if image else "SIGTERM")
        self.process.send_signal(signal.Signals[name])

    def stop(self) -> int:
        """Returns the exit code; kills it only where it does not end."""
        assert self.process is not None
        if self.process.poll() is None:
            self.ask_to_end()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def without_resolve(nginx: str | None) -> str | None:
    """What is missing for the balancer's file as it stands; None: nothing."""
    needs = f"needs nginx >= {'.'.join(map(str, RESOLVES))} (`resolve` of ops/compose/nginx.conf); here is "
    if nginx is None:
        return needs + "none"
    told = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr
    (found,) = re.findall(r"nginx/(\d+\.\d+\.\d+)", told)
    return None if tuple(map(int, found.split("."))) >= RESOLVES else needs + found


def for_this_nginx(text: str) -> str:
    """The balancer's file without `resolve`, where the nginx at hand is older than the image's: no name is looked up
    where addresses stand in their place, so nothing else of it changes."""
    return text if without_resolve(*PROGRAMS["nginx"]) is None else text.replace(" resolve ", " ")


def addresses(names: list[str]) -> dict[str, str]:
    """Loopback addresses of their own, drawn: several runs may go on at once."""
    net = f"127.{random.randint(16, 250)}.{random.randint(1, 250)}"
    return {name: f"{net}.{number}" for number, name in enumerate(names, 1)}
