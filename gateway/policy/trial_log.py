"""What the log says of trials."""

from __future__ import annotations

import logging

from gateway.policy.candidate import Candidate, Trial

_log = logging.getLogger("gateway")


class TrialLog:
    """Says when a trial begins and how it ends: on each replica, whoever asked for it."""

    def __init__(self) -> None:
        self._told: Trial | None = None

    def look(self, candidate: Candidate | None, in_force: str) -> None:
        """Called now and again; `in_force` is the version of the policy in force."""
        before, now = self._told, candidate.trial if candidate is not None else None
        if before == now:
            return
        self._told = now
        if before is not None:
            how = "promoted" if before.version == in_force else "dropped" if now is None else "another trial"
            _log.info("trial ended", extra={"fields": {"version": before.version, "how": how}})
        if now is not None:
            fields = {"version": now.version, "mode": now.mode, "beside": in_force}
            if now.mode == "share":
                fields["share"] = f"{now.share:.4g}"
            _log.info("trial begun", extra={"fields": fields})
