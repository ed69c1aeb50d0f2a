"""Golden cases: what a case expects against what is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.model import Policy
from gateway.policy.case_schema import Case
from gateway.rehearsal.ending import WAITS
from gateway.rehearsal.story import Story, tell
from gateway.rehearsal.world import world_of_case

_SETS = frozenset({"residency", "candidates"})
"""Lists whose order means nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    story: Story
    wrong: Mapping[str, tuple[Any, Any]]
    """Key of `expect` -> what was wanted, what was found; empty where the case passes."""

    def row(self) -> dict[str, Any]:
        diff = {key: {"expected": wanted, "found": found} for key, (wanted, found) in self.wrong.items()}
        return {"name": self.name, "passed": not self.wrong, "diff": diff, "result": dict(self.story.result)}


def judge(policy: Policy, case: Case) -> Verdict:
    story = tell(world_of_case(policy, case), case.request, what_if=False)
    wanted = case.expect.model_dump(mode="json", exclude_unset=True)
    pairs = {key: (_shape(key, value), _shape(key, found(story, key, value))) for key, value in wanted.items()}
    return Verdict(case.name, story, {key: pair for key, pair in pairs.items() if pair[0] != pair[1]})


def found(story: Story, key: str, wanted: Any) -> Any:
    """What the story says of a key of `expect`; of drops only those that the case speaks of."""
    if key == "drops":
        return {name: story.drops.get(name) for name in wanted}
    if key in ("residency", "candidates", "max_wait"):
        return getattr(story, key)
    if key == WAITS:
        return WAITS in story.result
    return story.result.get(key)


def _shape(key: str, value: Any) -> Any:
    return sorted(value) if key in _SETS and value is not None else value
