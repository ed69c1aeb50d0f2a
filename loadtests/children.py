"""Where processes of ours are started: anew, or, where somebody asked for it, out of a nursery."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from loadtests.nursery import Child, Nursery, die_with_parent

Process = subprocess.Popen[bytes] | Child


class Cradle:
    """Starts modules of ours. Inside `warm` they come out of one nursery, which begins with the first of them."""

    def __init__(self) -> None:
        self._modules: Sequence[str] = ()
        self._nursery: Nursery | None = None

    @contextmanager
    def warm(self, modules: Sequence[str]) -> Iterator[None]:
        """`modules` are those that what is started would load; of none, all is started anew. Linux only; elsewhere
        nothing changes."""
        outer, self._modules = (self._modules, self._nursery), modules if sys.platform == "linux" else ()
        self._nursery = None
        try:
            yield
        finally:
            nursery, (self._modules, self._nursery) = self._nursery, outer
            if nursery is not None:
                nursery.close()

    def spawn(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: IO[bytes] | None = None,
        prefix: Sequence[str] = (),
    ) -> Process:
        """`python -m module arguments` in a session of its own, which ends when we do. `prefix` is what its command
        begins with. Raises OSError."""
        if self._modules and not prefix:
            self._nursery = self._nursery or Nursery(self._modules)
            error = None if stderr is None else stderr.fileno()
            environment = os.environ if env is None else env
            return self._nursery.start(
                module, arguments, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=error
            )
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", module, *arguments],
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
            start_new_session=True,  # Ctrl-C is ours to hear: we end our children in order
        )


CRADLE = Cradle()
