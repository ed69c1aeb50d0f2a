"""One long generation, as it is kept in the store: whoever reads it can go on with it."""

from __future__ import annotations

import msgspec

from gateway.model import ENDED, Artefact, EndpointName, JobState

UNKNOWN_OUTCOME = "unknown_outcome"
"""The code of a job whose paid submit had no answer, and that cannot be found by listing."""


class Try(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt at an upstream. It is written before anything is sent (`intent`), and again once the answer is here:
    an intent without a ticket, of a bought API, is never sent again."""

    attempt: str
    """Its id, in the ledger too."""
    upstream: str
    backend: str
    managed: bool
    at: float
    """Seconds since the epoch, by the store's clock; so are all times here."""
    ticket: str | None = None
    """What the dialect needs to ask for it again."""
    percent: int | None = None
    result: str | None = None
    """How it ended, as in the ledger; None: it has not."""


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of what was asked, and what it made. What was asked lies beside it, sealed (`Shelf.body`)."""

    id: str
    """Signed and unguessable; the caller's handle."""
    request: str
    """The id of the request that brought it: of its receipt."""
    tenant: str
    key: str
    model: str
    endpoint: EndpointName
    policy: str
    """Version that it was accepted under."""
    created: float
    """Stamped by the store as it is accepted; `expires` and `deadline` move along."""
    expires: float
    """When its record and its artefacts go."""
    deadline: float | None = None
    """When it ends as `expired`, at the latest; every accepted job has one."""
    state: JobState = "queued"
    percent: int = 0
    webhook: str | None = None
    tries: tuple[Try, ...] = ()
    artefacts: tuple[Artefact, ...] = ()
    error: tuple[str, str] | None = None
    """Code and message."""
    started: float | None = None
    ended: float | None = None
    cancel: bool = False
    """Its caller wants it to end."""
    seconds: float | None = None
    size: str | None = None

    @property
    def over(self) -> bool:
        return self.state in ENDED

    @property
    def open(self) -> Try | None:
        """The attempt that is under way, or was when its process died."""
        return self.tries[-1] if self.tries and self.tries[-1].result is None else None

    @property
    def unknown(self) -> bool:
        """Something may have been bought for it of which nobody knows what became: an operator has to look."""
        return self.error is not None and self.error[0] == UNKNOWN_OUTCOME
