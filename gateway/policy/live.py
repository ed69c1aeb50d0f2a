"""The policy that is in force: loaded, watched, and replaced whole or not at all."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, TypeVar

from gateway.errors import PolicyFault
from gateway.model import Found, Member, Policy
from gateway.policy.candidate import Candidate, Trial, unfit
from gateway.policy.compile import compile_files
from gateway.policy.folder import Folder, read_folder, stamp, with_digests
from gateway.policy.trial_log import TrialLog
from gateway.routing.join import NOTHING_FOUND, found, join

RACY_SECONDS = 2.0
"""Younger than this, a file's time stamp cannot prove that it has not changed since (coarsest file system clock)."""

Origin = Literal["folder", "promoted", "another replica"]
T = TypeVar("T")
_log = logging.getLogger(__name__)


def utc_day() -> date:
    return datetime.now(UTC).date()


class LivePolicy:
    """`current` is always a whole, valid policy, joined by the workers that were found; `fault` holds what is wrong
    with the folder now, or None.

    It comes from the folder, or was adopted from elsewhere; then the folder may be *behind*. `origin` says which.
    `news` is True from the moment the folder's own content took effect until somebody has told the others and says so.
    `on_reload` is called with each new `current`, also where only workers came or went, or prices with the day
    (UTC): its version is then the same.
    `on_fault` is called with each new set of fault lines and with None when the folder is sound.

    Folders are compiled in a thread: one with a thousand upstreams takes a second, in which streams must go on. So one
    call that changes something has to end before the next one begins; `Versions` sees to that.
    """

    def __init__(
        self,
        path: Path,
        env: Mapping[str, str] | None = os.environ,
        refuse: Callable[[Policy, Policy], str | None] = lambda _old, _new: None,
        today: Callable[[], date] = utc_day,
    ) -> None:
        """Loads the folder. Raises PolicyFault: without a first good policy there is nothing to fall back on.

        `refuse(old, new)` says why a policy that compiles must not take effect in this process, or None.
        """
        self._refuse = refuse
        self._path = path
        self._env = env
        self._today, self._day = today, today()
        self._read_at = time.time()
        self._seen = read_folder(path)
        self._stamp = stamp(path, self._seen.beside)
        self._held = self._seen
        """What `current` was made from."""
        self._adopted = False
        self._offered: Folder | None = None
        self._asked = False
        self._own: Policy = compile_files(self._seen, env, self._day)
        """`current` as its folder has it, without what was found."""
        self._members: tuple[Member, ...] = ()
        self._homes: Mapping[str, frozenset[str]] = {}
        self.found: Found = NOTHING_FOUND
        self.current: Policy = self._own
        self.candidate: Candidate | None = None
        self.origin: Origin = "folder"
        self._trials = TrialLog()
        self.news = False
        self.fault: tuple[str, ...] | None = None
        self.on_reload: list[Callable[[Policy], None]] = []
        self.on_fault: list[Callable[[tuple[str, ...] | None], None]] = []

    @property
    def folder(self) -> Folder:
        """The folder as it was last read, good or bad."""
        return self._seen

    @property
    def held(self) -> Folder:
        """The files of the policy in force."""
        return self._held

    @property
    def behind(self) -> bool:
        """Whether the policy in force was adopted, and is not what the folder holds."""
        return self._adopted

    @property
    def offered(self) -> bool:
        """The folder changed while it was behind, and compiles; `accept` or `decline` it."""
        return self._offered is not None

    def ask_reload(self) -> None:
        """Has the next poll reload: all that a signal handler may do."""
        self._asked = True

    async def poll(self) -> bool:
        """Looks at the folder once; True where a new policy took effect. A few `stat` calls while nothing changes."""
        self._trials.look(self.candidate, self.current.version)
        if self._asked:
            return await self.reload()
        return await self._look() or await self._renew()

    async def _look(self) -> bool:
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
        return await self._take(folder, offer=self._adopted)

    async def _renew(self) -> bool:
        """Takes up the prices of a new day, and changed TLS files of a policy that did not come from the folder."""
        today, fresh = self._today(), self._with_digests(self._held.files) if self._adopted else self._held
        if fresh == self._held and today == self._day:
            return False
        self._day = today
        try:
            policy = await self._compiled(fresh)
        except PolicyFault:
            return False  # what it was made from stays in use
        return self._serve(fresh, policy)

    async def reload(self) -> bool:
        """Reads and compiles the folder whether or not its files changed, as after a change of a secret.

        Its content takes effect although another one may have been adopted since: somebody asks for it.
        """
        self._asked = False
        self._stamp, self._read_at = stamp(self._path, self._seen.beside), time.time()
        self._seen = read_folder(self._path)
        _log.info("policy folder read anew")
        changed = await self._take(self._seen, offer=False)
        self.news = self.news or self.fault is None
        return changed

    async def compiled(self, files: Mapping[str, bytes]) -> Policy:
        """What these files are on this machine, with its secrets and its TLS files. Raises PolicyFault."""
        return await self._compiled(self._with_digests(files))

    async def adopt(self, files: Mapping[str, bytes]) -> None:
        """These files take effect; the folder is behind until it changes. Raises PolicyFault, and changes nothing."""
        folder = self._with_digests(files)
        policy = await self._compiled(folder)
        self._adopted, self.news = policy.version != self._seen.version, False
        self._serve(folder, policy)

    async def accept(self) -> None:
        """What the folder offered takes effect."""
        offered, self._offered = self._offered, None
        if offered is not None:
            await self._take(offered, offer=False)

    def decline(self) -> None:
        self._offered = None

    def meet(self, members: tuple[Member, ...], homes: Mapping[str, frozenset[str]]) -> None:
        """These are all workers that are found now; `homes` as in `routing.join.found`."""
        self._members, self._homes = members, homes
        before, leaving = self.current, self.found.leaving
        self._join(self._own)
        if self.current is not before or self.found.leaving != leaving:
            _tell(self.on_reload, self.current)

    def newest(self, policy: Policy) -> Policy:
        """The same version with the workers that have come since `policy` was given out, without those that left."""
        if policy.version == self.current.version:
            return self.current
        tried = self.candidate
        return tried.policy if tried is not None and tried.policy.version == policy.version else policy

    def _join(self, own: Policy) -> None:
        """`own` becomes `current`, joined by what is found under it; the candidate gets the same workers."""
        new = found(own, self._members, self._homes, self.current.upstreams)
        same = own is self._own and new.upstreams == self.found.upstreams
        self._own, self.found = own, new
        if same:
            return
        self.current = join(own, new) if new.upstreams else own
        if self.candidate is not None:
            self.candidate = replace(self.candidate, policy=join(self.candidate.policy, new))

    def try_out(self, trial: Trial, policy: Policy) -> None:
        """Puts a policy on trial. Raises PolicyFault where it cannot stand beside the one in force."""
        if (why := unfit(self.current, policy)) is not None:
            raise PolicyFault([why])
        self.candidate = Candidate(trial, join(policy, self.found) if self.found.upstreams else policy)

    def _with_digests(self, files: Mapping[str, bytes | None]) -> Folder:
        return with_digests(self._path, files)

    async def _compiled(self, folder: Folder) -> Policy:
        policy = await asyncio.to_thread(_compile, folder, self._env, self._today())
        if (refusal := self._refuse(self.current, policy)) is not None:
            raise PolicyFault([refusal])
        return policy

    async def _take(self, folder: Folder, *, offer: bool) -> bool:
        self._offered = None
        try:
            policy = await self._compiled(folder)
        except PolicyFault as fault:
            self._note(fault.faults)
            return False
        self._note(None)
        if offer and policy.version != self.current.version:
            self._offered = folder
            return False
        self._adopted, self.news = False, self.news or policy.version != self.current.version
        return self._serve(folder, policy)

    def _serve(self, folder: Folder, policy: Policy) -> bool:
        self._held = folder
        if policy == self._own:
            return False
        self._join(policy)
        tried = self.candidate
        promoted = tried is not None and tried.policy.version == policy.version
        self.origin = "promoted" if promoted else "another replica" if self._adopted else "folder"
        if tried is not None and (why := unfit(policy, tried.policy)) is not None:
            self.candidate = None
            if policy.version != tried.policy.version:
                _log.warning("the trial of a policy ended", extra={"fields": {"why": why}})
        _tell(self.on_reload, self.current)
        return True

    def _note(self, fault: tuple[str, ...] | None) -> None:
        if fault != self.fault:
            self.fault = fault
            _tell(self.on_fault, fault)


def _compile(folder: Folder, env: Mapping[str, str] | None, today: date) -> Policy:
    """As `compile_files`; a defect of ours is a fault of the folder too, else the folder would be passed over in
    silence. Its message may hold what the folder holds, so only its kind and its place are told."""
    try:
        return compile_files(folder, env, today)
    except PolicyFault:
        raise
    except Exception as defect:
        place = traceback.extract_tb(defect.__traceback__)[-1]
        where = f"{type(defect).__name__} at {Path(place.filename).name}:{place.lineno}"
        _log.error("a policy folder could not be compiled", extra={"fields": {"defect": where}})
        raise PolicyFault(
            [f"(folder): cannot be compiled; a defect of the gateway, please report it: {where}"]
        ) from None


def _tell(listeners: list[Callable[[T], None]], news: T) -> None:
    """A listener that fails must stop neither the others nor the watch."""
    for listener in listeners:
        try:
            listener(news)
        except Exception:
            _log.exception("a listener of the policy failed")
