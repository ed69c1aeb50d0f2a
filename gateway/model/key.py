"""A key that was made at run time, as replicas tell each other of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """Times are seconds since the epoch. Of two that bear one id the higher `serial` holds."""

    id: str
    tenant: str
    hash: str = field(repr=False)
    """Keyed hash, as in tenants.yaml."""
    created: float
    terms: str = "{}"
    """What it may do, in JSON: `policy.schema.KeyTerms`. A policy may come that they do not fit any more."""
    serial: int = 1
    expires: float | None = None
    revoked: float | None = None
    old_hash: str | None = field(default=None, repr=False)
    """Of the secret that the present one replaced: good until `old_until`."""
    old_until: float | None = None

    @property
    def over(self) -> float | None:
        """Since when, or from when on, it opens nothing for good; None: no end is set."""
        ends = [at for at in (self.expires, self.revoked) if at is not None]
        return min(ends, default=None)
