"""What is most likely wrong where the YAML parser stopped, and what to write instead.

The parser tells what it missed, which is seldom what somebody got wrong; the lines around it mostly show that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import yaml

from gateway.policy.scalars import Place

_COMPARISON: Final = re.compile(r"[:\[,{-]\s+(>=?\s*[0-9][0-9.]*)")
_NO_BEGINNING: Final = re.compile(r"[:\[,{-]\s+([@`%])")
_VARIABLE: Final = re.compile(r"\$\{[^}]*\}")
_TWO_COLONS: Final = re.compile(r"^[^:#]*:\s+[^\"'\[{#]*?:(\s|$)")
_NO_BLANK: Final = re.compile(r"^\s*(?:- )?[A-Za-z_]+:[^\s/]")
_WRONG_DEPTH: Final = ("mapping values are not allowed", "did not find expected key", "did not find expected '-'")


def syntax_hint(text: str, error: yaml.MarkedYAMLError) -> str | None:
    """Advice in one clause, or None where nothing is likely. It repeats no value but a comparison."""
    mark, context = error.problem_mark, error.context or ""
    if mark is None:
        return None
    lines, problem = [*text.splitlines(), ""], error.problem or ""
    if mark.line >= len(lines):
        return None
    if "cannot start any token" in problem or "expected comment or line break" in problem:
        return _unquoted(lines[mark.line])
    begun = (error.context_mark.line, error.context_mark.column) if error.context_mark is not None else (0, 0)
    if "flow" in context:
        return _unclosed(lines, begun, (mark.line, mark.column))
    if "quoted scalar" in context:
        return f"the quote that begins in line {begun[0] + 1} is not closed"
    if problem.startswith(_WRONG_DEPTH):
        return _depth(lines, mark.line) or _colons(lines, mark.line)
    return None


def _unquoted(line: str) -> str | None:
    if found := _COMPARISON.search(line):
        return f'put the comparison in quotes: "{found[1]}"'
    if found := _NO_BEGINNING.search(line):
        return f"put the value in quotes: it begins with `{found[1]}`"
    return None


def _unclosed(lines: list[str], begun: Place, stopped: Place) -> str | None:
    """Of a `{` or `[` at `begun`; both places count from 0."""
    bracket = lines[begun[0]][begun[1] : begun[1] + 1]
    line = lines[stopped[0]]
    if any(found.start() < stopped[1] + 1 <= found.end() for found in _VARIABLE.finditer(line)):
        return "put ${...} in quotes where it stands within { } or [ ]"
    if bracket not in ("{", "["):
        return None
    unclosed = f"the {bracket} of line {begun[0] + 1} is not closed"
    goes_on = stopped[0] == begun[0] and line[stopped[1] : stopped[1] + 1] not in ("", "}", "]")
    return f"a comma is missing before this, or {unclosed}" if goes_on else unclosed


def _depth(lines: list[str], number: int) -> str | None:
    """Of a line that is indented like none above it, but nearly so."""
    line = lines[number]
    indent = len(line) - len(line.lstrip(" "))
    known = list(_depths(lines[:number], dashed=line.lstrip().startswith("- ")))
    if not line.strip() or not known or indent in known:
        return None
    near = min(known, key=lambda depth: abs(depth - indent))
    return f"line {number + 1} is indented by {indent}, its neighbours by {near}"


def _depths(above: list[str], *, dashed: bool) -> Iterator[int]:
    """How far the lines above are indented, the nearest first; behind its dash first for one that begins with none."""
    for line in reversed(above):
        rest = line.lstrip(" ")
        if not rest or rest.startswith("#"):
            continue
        indent = len(line) - len(rest)
        behind = [indent + len(rest) - len(rest[1:].lstrip(" "))] if rest.startswith("- ") else []
        yield from [indent, *behind] if dashed else [*behind, indent]
        if indent == 0:
            return


def _colons(lines: list[str], number: int) -> str | None:
    """Of a colon that is one too many, or that lacks its blank, here or in the line above."""
    if _TWO_COLONS.match(lines[number]):
        return "put the value in quotes: it holds a colon"
    for at in (number, number - 1):
        if at >= 0 and _NO_BLANK.match(lines[at]):
            return f"write a blank behind the colon of line {at + 1}"
    return None
