"""Body fields that change price, scheduling or retention: passed, removed or refused, by rule; never passed unseen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from gateway.model import Kind, Rule

Action = Literal["pass", "remove", "refuse"]

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "service_tier": ("auto", "default"),
    "speed": ("standard",),
    "priority": (0,),
    "store": (False,),
    "background": (False,),
    "kv_transfer_params": (),
    "cache_salt": (),
}
"""Every known field, with the values (beside null) that mean the same as leaving it out."""
PRICED = frozenset({"n", "best_of"})
"""Fields whose price and work we can tell in advance: the output is that many times as long."""


def changes_something(name: str, value: Any) -> bool:
    """Whether the field asks for anything beyond the default."""
    return value is not None and value not in NEUTRAL[name]


def action(rule: Rule, kind: Kind, name: str) -> Action:
    """What to do with a known field towards a `kind` of upstream: the rule's word, else the documented default."""
    said = rule.on_fields.get(name)
    if said is not None:
        return said
    if name in PRICED:
        return "pass"
    return "remove" if kind == "local" else "refuse"
