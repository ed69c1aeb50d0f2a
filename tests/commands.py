"""The `gateway` command as a process of its own that need not load its modules (loadtests/nursery.py).

    done = ran("keys", "list", env={"GATEWAY_URL": url})
    done.returncode, done.stdout, done.stderr

Environment, folder, standard streams and exit code are those of a process that was started anew; what loading itself
does (a module that is missing, a command typed in a shell) stays with `subprocess`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from loadtests.children import CRADLE
from loadtests.stack import ROOT

SECONDS = 20.0
"""Longer than any command takes that ends by itself."""


def ran(
    *words: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    together: bool = False,
) -> subprocess.CompletedProcess[str]:
    """`python -m gateway words`, ended. `env` is all of its environment (default: ours); `together` writes stderr to
    stdout. Raises subprocess.TimeoutExpired, after it was killed."""
    arguments = [str(word) for word in words]
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        asked.write(stdin.encode())
        asked.seek(0)
        process = CRADLE.spawn(
            "gateway",
            arguments,
            cwd=cwd or ROOT,
            env=os.environ if env is None else env,
            stdin=asked.fileno(),
            stdout=said.fileno(),
            stderr=said if together else complained,
        )
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        told = []
        for file in (said, complained):
            file.seek(0)
            told.append(file.read().decode())
    return subprocess.CompletedProcess(["gateway", *arguments], code, *told)
