"""A story in sentences, the end first: for terminals and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.rehearsal.ending import head
from gateway.rehearsal.rules import Missed
from gateway.routing.plan import NO_RULE

Told = Mapping[str, Any]
"""`Story.as_data()`, be it of this process or of a running gateway."""


def sentences(story: Told) -> list[str]:
    """How it ended, and what led to it; what a table shows better is not among them."""
    return [headline(story), *facts(story)]


def why(story: Told) -> list[str]:
    """What led to it, for a page that shows the end, the rule and the version of the policy beside it."""
    return [line for line in facts(story)[1:] if line != f"policy: {story['policy']}"]


def headline(story: Told) -> str:
    result = story["result"]
    told = "outcome" in result or result["message"] == NO_RULE
    return head(result) if told else f"{head(result)}: {result['message']}"


def facts(story: Told) -> list[str]:
    lines = [f"rule: {story['rule'] or 'none'}"]
    lines += [f"  not {Missed(**one)}" for one in story["missed"]]
    if story["residency"]:
        said = "; ".join(f"{name} says {', '.join(demand)}" for name, demand in story["sources"].items())
        lines.append(f"residency: {', '.join(story['residency'])}" + (f" ({said})" if said else ""))
    return [*lines, *story["notes"]]
