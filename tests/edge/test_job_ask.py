"""What is the same call, however often it comes."""

from __future__ import annotations

import os
import subprocess
import sys

from gateway.edge.job_ask import Sealed
from gateway.model import NO_DEMAND, Demand, Tenant

PRINTED = """
from gateway.edge.job_ask import Sealed
from gateway.model import Demand, Tenant
zones = frozenset(f"zone-{n}" for n in range(9))
print(Sealed(b"{}", (), (), "eu", Demand(zones=zones), Tenant("acme", tags=zones)).said().hex())
"""


def sealed(fields: bytes = b"{}", *, demand: Demand = NO_DEMAND, residency: str | None = None, **of: float) -> Sealed:
    headers = ((b"x-data-residency", b"eu"), (b"x-team", str(of).encode()))
    return Sealed(fields, (("a", b"1"),), headers, residency, demand, Tenant("acme", **of))  # type: ignore[arg-type]


def test_a_call_is_the_same_under_another_policy() -> None:
    assert sealed(weight=1.0).said() == sealed(weight=2.0, demand=Demand(local=True)).said()
    assert sealed(b'{"a":1}').said() != sealed().said() != sealed(residency="local").said()


def test_a_call_is_the_same_at_every_replica() -> None:
    """Whatever order its process has for sets."""
    said = {
        subprocess.run(
            [sys.executable, "-c", PRINTED], capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
