"""A container of the chart as a process: its command and arguments, its environment, its mounts as folders.

Configuration is mounted as the kubelet does it: each file a link through `..data`, which one rename points elsewhere.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 30.0
NAME = "pod-1"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def project(mount: Path, files: Mapping[str, str], generation: int) -> None:
    """Has `mount` show `files`, at once."""
    root = mount / f"..generation_{generation}"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (mount / "..data_tmp").symlink_to(root.name)
    (mount / "..data_tmp").rename(mount / "..data")
    for name in {name.partition("/")[0] for name in files}:
        if not (mount / name).is_symlink():
            (mount / name).symlink_to(f"..data/{name}")


@dataclass(frozen=True)
class Pod:
    process: subprocess.Popen[bytes]
    mounts: Mapping[str, Path]
    """Name of a volume -> the folder that stands for it."""

    def ask(self, port: int, path: str) -> tuple[int, str]:
        """Status and body; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError:
            return 0, ""

    def wait(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + DEADLINE_SECONDS
        while not what():
            assert self.process.poll() is None, "the process ended"
            assert time.monotonic() < until, "it took too long"
            time.sleep(0.05)

    def end(self, seconds: float) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def environment(container: Mapping[str, Any], secrets: Mapping[str, str], root: Path) -> dict[str, str]:
    """What the container sees, with `root` before paths in mounts. A Secret's key has its text in `secrets`."""
    paths = sorted((one["mountPath"] for one in container["volumeMounts"]), key=len, reverse=True)
    made = {}
    for one in container["env"]:
        reference = one.get("valueFrom", {})
        text = one.get("value") or secrets.get(reference.get("secretKeyRef", {}).get("key", ""), NAME)
        text = text.replace("$(POD_NAME)", NAME)
        made[one["name"]] = f"{root}{text}" if text.startswith(tuple(paths)) else text
    return made


def unprivileged(pod: Mapping[str, Any]) -> list[str]:
    """What runs a command as the user of the pod, where we may: it owns nothing, so it can neither change a mount nor
    write beside its own. It may read everything, because interpreters of developers lie in closed homes."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    user, group = (pod["securityContext"][key] for key in ("runAsUser", "fsGroup"))
    caps = [option for kind in ("inh", "ambient") for option in (f"--{kind}-caps", "-all,+dac_read_search")]
    return ["setpriv", "--reuid", str(user), "--regid", str(group), "--clear-groups", "--no-new-privs", *caps]


@contextmanager
def started(pod: Mapping[str, Any], files: Mapping[str, str], root: Path) -> Iterator[Pod]:
    """Runs the command of the pod's container until the block ends. `files`: of the volume `policies`."""
    (container,) = pod["containers"]
    as_user, mounts = unprivileged(pod), {}
    for one in container["volumeMounts"]:
        mounts[one["name"]] = mount = Path(f"{root}{one['mountPath']}")
        mount.mkdir(parents=True)
        if as_user and not one.get("readOnly"):  # as the kubelet does it: root's, and the group may write
            os.chown(mount, 0, pod["securityContext"]["fsGroup"])
            mount.chmod(0o2775)
    project(mounts["policies"], files, 1)
    env = environment(container, {}, root)
    command = [Path(sys.executable).with_name(container["command"][0]), *container["command"][1:], *container["args"]]
    path = {"PATH": os.defpath, "TMPDIR": str(mounts["tmp"])}
    process = subprocess.Popen([*as_user, *command], env=path | env, cwd=mounts["tmp"])
    try:
        yield Pod(process, mounts)
    finally:
        process.kill()
        process.wait()
