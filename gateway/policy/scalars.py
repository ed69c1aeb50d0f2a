"""Where in a YAML file a character of a text stands, however the text is written: plain, quoted, folded, as a block.

The parser tells where a text begins. From there the file is read once more beside the value, as far as the character.
"""

from __future__ import annotations

import re
from typing import Final

Place = tuple[int, int]
"""Line and column, both from 1."""

_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_ESCAPE: Final = re.compile(r"\\(?:x..|u.{4}|U.{8}|.)")


def place_within(text: str, start: Place, value: str, offset: int) -> Place:
    """The place of `value[offset]`, or of its end; `value` is what the parser read at `start` of the file `text`."""
    lines = _BREAK.split(text)
    line, column = start[0] - 1, start[1] - 1
    mark = lines[line][column : column + 1]
    walk = _in_block if mark in ("|", ">") else _in_flow
    try:
        line, column = walk(lines, line, column, value, offset)
    except IndexError:  # the two are not the same text after all
        return start
    return line + 1, column + 1


def _in_block(lines: list[str], line: int, _column: int, value: str, offset: int) -> Place:
    """`line` has the `|` or `>`; line breaks of the value are counted, whichever of them were folded."""
    line += 1
    indent = _lead(_first_filled(lines[line:])) - _lead(_first_filled(value.split("\n")))
    column, position = indent, 0
    while position < offset:
        if column < len(lines[line]):
            position, column = position + 1, column + 1
            continue
        breaks = _breaks(lines, line, indent)
        told = 1 if value[position] == " " else _run(value, position, breaks)
        if position + told > offset:
            return line + offset - position, column
        position, line, column = position + told, line + breaks, indent
    return line, column


def _in_flow(lines: list[str], line: int, column: int, value: str, offset: int) -> Place:
    """Plain and quoted text: a single line break is a blank, further ones are line breaks."""
    quote = lines[line][column] if lines[line][column] in "'\"" else ""
    column, position = column + len(quote), 0
    while True:
        rest = lines[line][column:]
        if quote == '"' and rest == "\\":  # an escaped line break stands for nothing
            line, column = line + 1, _lead(lines[line + 1])
        elif position >= offset:
            return line, column
        elif not rest.strip(" \t"):
            breaks = _breaks(lines, line, 0)
            position += 1 if value[position] == " " else breaks - 1
            line += breaks
            column = _lead(lines[line])
        else:
            escaped = _ESCAPE.match(rest) if quote == '"' else None
            width = len(escaped[0]) if escaped else 2 if quote == "'" and rest.startswith("''") else 1
            position, column = position + 1, column + width


def _breaks(lines: list[str], line: int, indent: int) -> int:
    """How many line breaks lie between the end of `line` and the next one that holds something."""
    count = 1
    while line + count < len(lines) - 1 and not lines[line + count][indent:].strip("" if indent else " \t"):
        count += 1
    return count


def _run(value: str, position: int, most: int) -> int:
    """How many line breaks, at most `most`, the value has there; at least one."""
    count = 1
    while count < most and value[position + count : position + count + 1] == "\n":
        count += 1
    return count


def _first_filled(lines: list[str]) -> str:
    """The first line that is not blank: blanks of one before it may be text, or less than the indentation."""
    return next((one for one in lines if one.strip(" ")), "")


def _lead(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))
