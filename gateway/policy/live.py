"""The policy that is in force: loaded, watched, and replaced whole or not at all."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from gateway.errors import PolicyFault
from gateway.model import Policy
from gateway.policy.compile import compile_files
from gateway.policy.folder import Folder, read_folder, stamp

RACY_SECONDS = 2.0
"""Younger than this, a file's time stamp cannot prove that it has not changed since (coarsest file system clock)."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class LivePolicy:
    """`current` is always a whole, valid policy; `fault` holds what is wrong with the folder now, or None.

    `on_reload` is called with each new policy after it took effect, `on_fault` with each new set of fault lines and
    with None when the folder is sound again.
    """

    def __init__(
        self,
        path: Path,
        env: Mapping[str, str] | None = os.environ,
        refuse: Callable[[Policy, Policy], str | None] = lambda _old, _new: None,
    ) -> None:
        """Loads the folder. Raises PolicyFault: without a first good policy there is nothing to fall back on.

        `refuse(old, new)` says why a policy that compiles must not take effect in this process, or None.
        """
        self._refuse = refuse
        self._path = path
        self._env = env
        self._read_at = time.time()
        self._seen = read_folder(path)
        self._stamp = stamp(path, self._seen.beside)
        self.current: Policy = compile_files(self._seen, env)
        self.fault: tuple[str, ...] | None = None
        self.on_reload: list[Callable[[Policy], None]] = []
        self.on_fault: list[Callable[[tuple[str, ...] | None], None]] = []

    def poll(self) -> bool:
        """Looks at the folder once; True where a new policy took effect. A few `stat` calls while nothing changes."""
        before = stamp(self._path, self._seen.beside)
        now = time.time()
        if before == self._stamp and not before.younger_than(self._read_at, RACY_SECONDS):
            return False
        folder = read_folder(self._path)
        if stamp(self._path, self._seen.beside) != before:
            return False  # somebody is writing: the next poll sees all of it
        self._stamp, self._read_at = before, now
        if folder == self._seen:
            return False
        self._seen = folder
        return self._take(folder)

    def reload(self) -> bool:
        """Compiles the folder again whether or not its files changed, as after a change of a secret."""
        self._stamp, self._read_at = stamp(self._path, self._seen.beside), time.time()
        self._seen = read_folder(self._path)
        return self._take(self._seen)

    async def watch(self, interval: float = 0.5) -> None:
        """Polls every `interval` seconds until cancelled."""
        while True:
            await asyncio.sleep(interval)
            self.poll()

    def _take(self, folder: Folder) -> bool:
        try:
            policy = compile_files(folder, self._env)
        except PolicyFault as fault:
            self._note(fault.faults)
            return False
        refusal = self._refuse(self.current, policy)
        if refusal is not None:
            self._note((refusal,))
            return False
        self._note(None)
        if policy == self.current:
            return False
        self.current = policy
        _tell(self.on_reload, policy)
        return True

    def _note(self, fault: tuple[str, ...] | None) -> None:
        if fault != self.fault:
            self.fault = fault
            _tell(self.on_fault, fault)


def _tell(listeners: list[Callable[[T], None]], news: T) -> None:
    """A listener that fails must stop neither the others nor the watch."""
    for listener in listeners:
        try:
            listener(news)
        except Exception:
            _log.exception("a listener of the policy failed")
