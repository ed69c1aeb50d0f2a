"""What is the same call, however often it comes."""

from __future__ import annotations

from gateway.edge.job_ask import Sealed
from gateway.model import Demand, Tenant


def sealed(fields: bytes = b"{}", *, demand: Demand | None = None, residency: str | None = None, **of: float) -> Sealed:
    headers = ((b"x-data-residency", b"eu"), (b"x-team", str(of).encode()))
    return Sealed(fields, (("a", b"1"),), headers, residency, demand or Demand(), Tenant("acme", **of))  # type: ignore[arg-type]


def test_a_call_is_the_same_under_another_policy() -> None:
    assert sealed(weight=1.0).said() == sealed(weight=2.0, demand=Demand(local=True)).said()
    assert sealed(b'{"a":1}').said() != sealed().said() != sealed(residency="local").said()
