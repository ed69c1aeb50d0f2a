"""Workers that were found, beside those that the policy writes down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from gateway.model.upstream import Upstream

Finding = Literal["pool", "service", "srv", "dns", "registration"]
FINDINGS: tuple[Finding, ...] = get_args(Finding)
"""How a worker can be found. Where several tell of the same one, the first of them names it."""


@dataclass(frozen=True, slots=True)
class Member:
    """One worker as one source tells of it. It is whoever answers at `port` of its `addresses` (IP addresses, as
    `ipaddress` writes them); what else it is, the backend's `worker` says."""

    backend: str
    source: Finding
    url: str
    addresses: tuple[str, ...]
    port: int
    name: str | None = None
    """What it wants to be called, where the source lets it say so."""
    pod: str | None = None
    """`namespace/name` of its pod."""
    leaving: bool = False
    """It ends what it runs and takes nothing new."""


@dataclass(frozen=True, slots=True)
class Found:
    """What `routing.join.found` makes of all members. `leaving` may name workers of the policy too."""

    upstreams: Mapping[str, tuple[Upstream, ...]] = field(default_factory=dict)
    """Backend -> its found workers, none of which the policy writes down."""
    leaving: frozenset[str] = frozenset()
    refused: frozenset[Member] = frozenset()
    """Whose address lies where no worker of that backend may be."""
