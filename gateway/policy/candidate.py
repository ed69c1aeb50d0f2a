"""A policy on trial beside the one in force: decided by in the shadow, or for a sticky share of the requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from gateway.model import Policy

Mode = Literal["shadow", "share"]
_DIGEST_BYTES = 8
_DIGESTS = float(2 ** (8 * _DIGEST_BYTES))


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried and how. `share` (0..1) is the part of the requests that `share` acts on; 0 in the shadow.

    `begun` is the number of the order that began it: what is tried a second time is another trial.
    """

    version: str
    mode: Mode
    share: float = 0.0
    begun: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial with its policy, compiled on this machine."""

    trial: Trial
    policy: Policy = field(repr=False)

    def takes(self, session: bytes) -> bool:
        """Whether requests of this session are decided by it.

        The version is the salt, so every replica says the same, a larger share keeps the sessions of a smaller one, and
        the next candidate begins with others.
        """
        if self.trial.mode != "share":
            return False
        digest = blake2b(session, digest_size=_DIGEST_BYTES, key=self.trial.version.encode()).digest()
        return int.from_bytes(digest, "big") < self.trial.share * _DIGESTS


def unfit(current: Policy, tried: Policy) -> str | None:
    """Why `tried` cannot be on trial beside `current`, or None.

    A trial is about rules, models, prices and tenants, and about what these demand of residency. What an upstream is
    stays as it is: each must be one of those in force, by address, zone and networks, so that a demand means the same.
    They are also the only ones that are watched and probed.
    """
    if tried.version == current.version:
        return "it is the policy in force already"
    if tried.zones != current.zones:
        return "backends.yaml: its zones are not those in force; a trial never changes what a zone is"
    for upstream in tried.upstreams.values():
        if upstream.source is None and upstream != current.upstreams.get(upstream.name):
            return (
                f"backends.yaml: upstream {upstream.name} is new or changed; put it into the policy in force first "
                "(a backend that no rule names gets no traffic), then try the rules"
            )
    for backend, discovery in tried.discovery.items():
        if discovery != current.discovery.get(backend):
            return (
                f"backends.yaml: backend {backend} finds its workers elsewhere than in the policy in force, or takes "
                "them for something else; a trial never changes what a worker is"
            )
    return None
