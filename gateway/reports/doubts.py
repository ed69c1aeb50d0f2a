"""What must be known beside a comparison: the attempts that it leaves out, and those in it that are not certain."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gateway.reports.ask import Line


@dataclass(frozen=True, slots=True)
class Doubts:
    """Attempts, and micro-dollars. Left out: `unreconciled`, and `simulated` unless all that was bought is
    (`all_simulated`), which is the demo. Held: `estimated` and `marked`."""

    unreconciled: int = 0
    unreconciled_cost: int = 0
    simulated: int = 0
    simulated_cost: int = 0
    estimated: int = 0
    estimated_cost: int = 0
    marked: int = 0
    marked_cost: int = 0
    all_simulated: bool = False


def doubts_of(everything: Line, held: Line, all_simulated: bool) -> Doubts:
    """Of the sums over all that was asked for, and over what is compared."""
    counted = {field.name: everything[field.name] for field in fields(Doubts) if field.name != "all_simulated"}
    counted |= {name: held[name] for name in ("estimated", "estimated_cost", "marked", "marked_cost")}
    return Doubts(**counted, all_simulated=all_simulated)
