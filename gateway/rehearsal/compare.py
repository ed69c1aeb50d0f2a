"""Two policies side by side: what they would decide differently, and which of their parts differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from gateway.model import Policy
from gateway.policy.case_schema import Case
from gateway.policy.sources import Sources
from gateway.rehearsal import written
from gateway.rehearsal.ending import Result, head, rehearse, same
from gateway.rehearsal.receipt_shape import Receipt
from gateway.rehearsal.recorded import rebuilt, result_of
from gateway.rehearsal.world import world_of_case
from gateway.rehearsal.written import Parts


@dataclass(frozen=True, slots=True)
class Pair:
    """One case or receipt under both policies. `skipped` says why it could not be asked, and then nothing is known."""

    name: str
    old: Result
    new: Result
    skipped: str | None = None
    reproduced: bool = True
    """False for a receipt that the old policy, too, would decide otherwise than it was recorded."""

    @property
    def differs(self) -> bool:
        return self.skipped is None and not same(self.old, self.new)

    def __str__(self) -> str:
        return f"{self.name}: {head(self.old)} [{_rule(self.old)}] -> {head(self.new)} [{_rule(self.new)}]"

    def row(self) -> dict[str, Any]:
        told: dict[str, Any] = {"name": self.name, "old": dict(self.old), "new": dict(self.new)}
        return told | {"differs": self.differs, "skipped": self.skipped}


def _rule(result: Result) -> str:
    return f"rule {result['rule']}" if result.get("rule") else "no rule"


def compare_cases(old: Policy, new: Policy, cases: Iterable[Case]) -> Iterator[Pair]:
    """A case that names what one of the two does not have is skipped."""
    for case in cases:
        lacking = {f"{which} has no {name}" for which, one in (("A", old), ("B", new)) for name in unknown(one, case)}
        if lacking:
            yield Pair(case.name, {}, {}, "; ".join(sorted(lacking)))
        else:
            was, now = (rehearse(world_of_case(one, case), case.request) for one in (old, new))
            yield Pair(case.name, was, now)


def unknown(policy: Policy, case: Case) -> list[str]:
    """Names in a case's request and fleet that the policy does not have."""
    found = [f"upstream {name}" for name in case.fleet if name not in policy.upstreams]
    tenant = case.request.tenant
    return found if tenant is None or tenant in policy.tenants else [*found, f"tenant {tenant}"]


def compare_receipts(old: Policy, new: Policy, receipts: Iterable[Receipt]) -> Iterator[Pair]:
    for receipt in receipts:
        name = f"receipt {receipt.get('id', '?')}"
        again, caller = rebuilt(old, receipt), receipt.get("tenant")
        if again is None:
            yield Pair(name, {}, {}, "it was refused before it could be read")
            continue
        strange = [which for which, one in (("A", old), ("B", new)) if one.keys and caller not in one.tenants]
        if strange:
            yield Pair(name, {}, {}, "; ".join(f"{which} has no tenant {caller}" for which in strange))
            continue
        was, now = (rehearse(again.world(one), again.request) for one in (old, new))
        recorded = result_of(old, receipt)
        alike = all(recorded.get(key) == was.get(key) for key in ("outcome", "backend", "rule"))
        yield Pair(name, was, now, reproduced=alike)


def changed_parts(old: Sources, new: Sources) -> list[str]:
    """What was added, removed, moved or changed, in the words of the files; no key and no hash of one is among them."""
    return [
        *_rules(written.rules(old), written.rules(new)),
        *_named("backend", written.backends(old), written.backends(new)),
        *_named("upstream", written.upstreams(old), written.upstreams(new)),
        *_named("model", written.models(old), written.models(new)),
        *_named("tenant", written.tenants(old), written.tenants(new)),
        *_named("zone", written.zones(old), written.zones(new)),
        *_secrets(old, new),
    ]


def _rules(before: Parts, after: Parts) -> Iterator[str]:
    yield from (f"rule {name}: removed" for name in before if name not in after)
    yield from (f"rule {name}: added at place {place}" for place, name in enumerate(after, 1) if name not in before)
    for name in moved([n for n in before if n in after], [n for n in after if n in before]):
        places = [[*rules].index(name) + 1 for rules in (before, after)]
        yield f"rule {name}: moved from place {places[0]} to {places[1]}"
    for name in after:
        if name in before:
            yield from _keys(f"rule {name}", before[name], after[name])


def _secrets(old: Sources, new: Sources) -> Iterator[str]:
    before, after = written.secrets(old), written.secrets(new)
    for kind, name, key in after:
        if before.get((kind, name, key), after[kind, name, key]) != after[kind, name, key]:
            yield f"{kind} {name}: {key}: changed"


def moved(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Of two orders of the same names, the fewest whose moving makes one into the other, nearly."""
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    stayed = {name for block in blocks for name in after[block.b : block.b + block.size]}
    return [name for name in after if name not in stayed]


def _keys(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for key in dict.fromkeys((*old, *new)):
        was, now = old.get(key, written.NOTHING), new.get(key, written.NOTHING)
        if was != now:
            yield f"{what}: {key}: {was} -> {now}"


def _named(what: str, old: Parts, new: Parts) -> Iterator[str]:
    yield from (f"{what} {name}: removed" for name in old if name not in new)
    yield from (f"{what} {name}: added" for name in new if name not in old)
    for name in new:
        if name in old:
            yield from _keys(f"{what} {name}", old[name], new[name])
