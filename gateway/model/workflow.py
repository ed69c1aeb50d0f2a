"""A graph that a worker is given instead of a request: a template of the policy folder, and what is filled in.

A template is a workflow in ComfyUI's API format (node id -> `class_type` and `inputs`) in which texts hold places such
as `{{prompt}}`. A text that is one place and nothing else becomes the value itself, a number where it is one; within a
longer text the value is written into it. `{{steps:20}}` has a default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PLACES: tuple[str, ...] = (
    "prompt",
    "negative_prompt",
    "width",
    "height",
    "steps",
    "seed",
    "frames",
    "fps",
    "seconds",
    "n",
    "image",
)
"""What a template can ask for. `image` is the name of the picture that was sent along, as the worker has it."""
ALWAYS = frozenset({"prompt", "negative_prompt", "seed", "n"})
"""They need no default: there is a prompt, and without the others it is no negative one, any seed, and one."""
_PLACE = re.compile(r"\{\{\s*([a-z_]+)\s*(?::([^{}]*))?\}\}")


class BadWorkflow(ValueError):
    """The template is no good, and why."""


class Unfilled(ValueError):
    """Nobody says what belongs in this place."""


@dataclass(frozen=True, slots=True)
class Workflow:
    graph: str = field(repr=False)
    """The template as JSON."""
    defaults: Mapping[str, str | None] = field(compare=False)
    """Its places; None: without a default."""

    def filled(self, values: Mapping[str, str | int | float]) -> dict[str, Any]:
        """The graph to be sent. Raises Unfilled with the name of a place that has neither value nor default."""
        made = _walk(json.loads(self.graph), values)
        assert isinstance(made, dict)  # noqa: S101 - `read_workflow` has seen to it
        return made


def read_workflow(text: str | bytes) -> Workflow:
    """Raises BadWorkflow."""
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        raise BadWorkflow("is not JSON; save the workflow in API format") from None
    if not _is_graph(graph):
        raise BadWorkflow("is no workflow in API format: an object of nodes, each with `class_type` and `inputs`")
    places: dict[str, str | None] = {}
    for name, default in _places(graph):
        places[name] = places.get(name) if default is None else default
    if "prompt" not in places:
        raise BadWorkflow("has no place for the prompt: write {{prompt}} where its text belongs")
    for name, default in places.items():
        if name not in PLACES:
            raise BadWorkflow(f"has the place {{{{{name}}}}}; there are {', '.join(PLACES)}")
        if default is None and name not in ALWAYS and name != "image":
            raise BadWorkflow(f"the place {{{{{name}}}}} needs a default, such as {{{{{name}:{_EXAMPLES[name]}}}}}")
    return Workflow(json.dumps(graph), places)


_EXAMPLES: Mapping[str, int] = {"width": 1024, "height": 1024, "steps": 20, "frames": 81, "fps": 16, "seconds": 5}


def _is_graph(graph: Any) -> bool:
    nodes = graph.values() if isinstance(graph, dict) else ()
    return bool(nodes) and all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
        for node in nodes
    )


def _places(part: Any) -> list[tuple[str, str | None]]:
    if isinstance(part, str):
        return [(found[1], found[2]) for found in _PLACE.finditer(part)]
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [place for each in inner for place in _places(each)]


def _walk(part: Any, values: Mapping[str, str | int | float]) -> Any:
    if isinstance(part, dict):
        return {name: _walk(value, values) for name, value in part.items()}
    if isinstance(part, list):
        return [_walk(value, values) for value in part]
    if not isinstance(part, str):
        return part
    whole = _PLACE.fullmatch(part)
    if whole is not None:
        return _value(whole, values)
    return _PLACE.sub(lambda found: str(_value(found, values)), part)


def _value(found: re.Match[str], values: Mapping[str, str | int | float]) -> str | int | float:
    """A default is a number where it reads like one."""
    name, default = found[1], found[2]
    if name in values:
        return values[name]
    if default is None:
        raise Unfilled(name)
    try:
        number = float(default)
    except ValueError:
        return default
    return int(number) if number.is_integer() and "." not in default else number
