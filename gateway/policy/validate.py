"""A document against its schema: pydantic's findings in plain sentences, each at its line and column.

`read` gives back what is sound even where other parts are not, so that one run finds every fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.policy.source import Document, Fault, Path, printable
from gateway.policy.strict import Strict
from gateway.policy.value_hints import home_of, number_hint
from gateway.policy.words import PATTERNS

T = TypeVar("T")
MOST_NAMES = 8
"""Of a list of what is known, in one sentence."""
_KINDS = {"local": "managed", "managed": "local"}
_KEY = "[key]"
_ONE_ENTRY = "must have at least one entry"
_PARTS = re.compile(r"[-._:/]")
"""Where a name may be cut into a glob."""


@dataclass(slots=True)
class Items(Generic[T]):
    """A list of named objects: the sound ones by their place in the file, and every name that is written there."""

    document: Document
    key: str
    sound: dict[int, T] = field(default_factory=dict)
    names: frozenset[str] | None = None
    """None where the list, or one of its names, cannot be read: then a reference into it cannot be judged."""


def nearest(word: str, choices: frozenset[str] | list[str]) -> str:
    """The end of a sentence about an unknown word: the likely spelling, else all choices."""
    spellings = {spelling.lower(): spelling for name in sorted(choices) for spelling in _spellings(word, name)}
    close = get_close_matches(word.lower(), list(spellings), n=1)
    if close:
        return f"did you mean `{printable(spellings[close[0]])}`?"
    return f"known here: {listed(choices)}"


def listed(names: Iterable[str]) -> str:
    """`names` in order, fit for one line: no more than MOST_NAMES of them, and how many there are beyond."""
    found = sorted(names)
    shown = ", ".join(map(printable, found[:MOST_NAMES])) or "none"
    return shown + (f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else "")


def _spellings(word: str, name: str) -> list[str]:
    """What `word` may have been meant to be: the name, or where it is a glob, the beginnings of the name as globs."""
    if not word.endswith("*"):
        return [name]
    return [name, *(f"{name[: end.end()]}*" for end in _PARTS.finditer(name))]


def shape_faults(document: Document, shape: type[Strict] | None) -> list[Fault]:
    """All that keeps `document` from being a `shape`: faults of syntax, then what the schema does not allow."""
    if shape is None or (document.data is None and document.faults):
        return document.faults
    if document.data is None:
        needed = ", ".join(f"`{name}:`" for name, field in shape.model_fields.items() if field.is_required())
        return [document.fault((), f"is empty; it must have {needed}")]
    told = {fault.path for fault in document.faults}
    return document.faults + [fault for fault in _schema_faults(document, shape) if fault.path not in told]


def _schema_faults(document: Document, shape: type[Strict]) -> list[Fault]:
    try:
        shape.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        schema = shape.model_json_schema()
        details = error.errors(include_url=False)
        return [_fault(document, schema, detail) for detail in details if not _is_echo(detail, details)]
    return []


def read(document: Document, key: str, adapter: TypeAdapter[T]) -> Items[T]:
    """The objects listed under `key` that are sound by themselves."""
    items: Items[T] = Items(document, key)
    listed = document.data.get(key) if isinstance(document.data, dict) else None
    if not isinstance(listed, list):
        return items
    written = [item.get("name") if isinstance(item, dict) else None for item in listed]
    names = frozenset(name for name in written if isinstance(name, str))
    items.names = None if None in written else names
    for index, item in enumerate(listed):
        try:
            items.sound[index] = adapter.validate_json(json.dumps(item))
        except ValidationError:  # reported with the whole file
            continue
    return items


def _is_echo(detail: ErrorDetails, all_of_them: Sequence[ErrorDetails]) -> bool:
    """A list whose items failed is also called too short; only the items' own faults help."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        other is not detail and other["loc"][: len(place)] == place for other in all_of_them
    )


def _fault(document: Document, schema: Mapping[str, Any], detail: ErrorDetails) -> Fault:
    where = detail["loc"]
    on_key = detail["type"] in ("extra_forbidden", "missing") or where[-1:] == (_KEY,)
    path: Path = tuple(
        part for index, part in enumerate(where) if part != _KEY and not (index == 2 and _is_tag(where, part))
    )
    if detail["type"] == "union_tag_invalid" or detail["type"] == "union_tag_not_found":
        path = (*path, "kind")
    return document.fault(path, _sentence(schema, detail), key=on_key)


def _is_tag(where: tuple[int | str, ...], part: int | str) -> bool:
    return where[0] == "backends" and part in _KINDS


def _sentence(schema: Mapping[str, Any], detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(schema, detail["loc"])
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], f"must match {context['pattern']}")
    if kind == "literal_error":
        return _not_a_choice(detail, context)
    make = _SENTENCES.get(kind)
    if make is None:
        return printable(detail["msg"])
    return make(context) + number_hint(kind, detail["input"], context)


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is required",
    "string_type": lambda _: "must be text; put it in quotes",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "float_type": lambda _: "must be a number",
    "finite_number": lambda _: "must be a finite number",
    "bool_type": lambda _: "must be true or false",
    "tuple_type": lambda _: "must be a list",
    "dict_type": lambda _: "must be a mapping of keys to values",
    "model_type": lambda _: "must be a mapping of keys to values",
    "model_attributes_type": lambda _: "must be a mapping of keys to values",
    "too_short": lambda c: f"must have at least {c['min_length']} entries" if c["min_length"] > 1 else _ONE_ENTRY,
    "too_long": lambda c: f"must have at most {c['max_length']} entries",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda c: f"must have at most {c['max_length']} characters",
    "greater_than": lambda c: f"must be more than {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {Decimal(str(c['ge'])).normalize():f}",
    "less_than": lambda c: f"must be less than {c['lt']:g}",
    "less_than_equal": lambda c: f"must be at most {c['le']:g}",
    "union_tag_not_found": lambda _: "is required: `local` for our own workers, `managed` for a bought API",
    "union_tag_invalid": lambda _: "must be `local` (our own workers) or `managed` (a bought API)",
}
"""Pydantic's error type -> what a person should read."""


def _not_a_choice(detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    choices = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"].lower()]  # `True` alone
    given = detail["input"]
    likely = get_close_matches(given, choices, n=1) if isinstance(given, str) else []
    if likely:
        what = "key" if detail["loc"][-1] == _KEY else "value"
        return f"unknown {what} `{printable(given)}`; did you mean `{likely[0]}`?"
    known = ", ".join(f"`{choice}`" for choice in choices)
    return f"must be {known}" if len(choices) == 1 else f"must be one of {known}"


def _unknown_key(schema: Mapping[str, Any], where: tuple[int | str, ...]) -> str:
    key = str(where[-1])
    said = f"unknown key `{printable(key)}`"
    if len(where) > 2 and _is_tag(where, where[2]):
        other = _KINDS[str(where[2])]
        if key in _keys_at(schema, (*where[:2], other, *where[3:-1])):
            return f"only backends of `kind: {other}` have `{key}`; remove it"
    if home := home_of(where, lambda at: _keys_at(schema, at)):
        return f"{said}; it belongs under {home}"
    return f"{said}; {nearest(key, _keys_at(schema, where[:-1]))}"


def _keys_at(schema: Mapping[str, Any], where: tuple[int | str, ...]) -> list[str]:
    """The keys that the JSON Schema allows at `where`."""
    node = _resolve(schema, schema)
    for part in where:
        if "discriminator" in node:
            node = _resolve(schema, {"$ref": node["discriminator"]["mapping"][part]})
        elif isinstance(part, int):
            node = _resolve(schema, node["items"])
        else:
            patterns = node.get("patternProperties", {}).values()  # a mapping whose keys are names
            node = _resolve(schema, node.get("properties", {}).get(part) or next(iter(patterns), {}))
    return list(node.get("properties", {}))


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Through references and past the `null` of an optional value."""
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif "anyOf" in node:
            node = next(choice for choice in node["anyOf"] if choice.get("type") != "null")
        else:
            return node
