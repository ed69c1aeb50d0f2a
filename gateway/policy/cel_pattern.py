"""What a written regular expression may cost: cel-cpp compiles it anew for every evaluation, and RE2 unrolls repeats.

RE2 never backtracks, so its time is the size of the compiled program times the length of the text, and both are bounded
here: the program from the pattern, the text by what the facts hold.
"""

from __future__ import annotations

import re
from typing import Final

BASE: Final = 100
"""Steps of `cel_text` (70 ns) of the smallest pattern: 7 us."""
_SIGN, _CHAR, _WIDE, _CLASS, _ANY = 5, 30, 40, 140, 140
"""Steps of `*`, `|` and the like, a character, one beyond ASCII, a class, and `.` or the opposite of a class.
Measured as the slowest of five texts of 512 characters, over the number of repeats (docs/adr/0011-cel.md): part is to
compile it, the rest a step of the automaton for each character of the text."""
_ATOM: Final = re.compile(
    r"""(?P<unicode>\\[pP]|\\Q)
      | (?P<repeat>\{(?P<least>\d+)(?P<more>,(?P<most>\d*))?\})
      | (?P<opens>\((?:\?P?<\w+>|\?[a-zA-Z-]*:)?)
      | (?P<flags>\(\?[a-zA-Z-]*\))
      | (?P<closes>\))
      | (?P<set>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])
      | (?P<escape>\\(?:x\{[0-9A-Fa-f]*\}|.))
      | (?P<char>.)""",
    re.VERBOSE | re.DOTALL,
)
_UNICODE: Final = re.compile(r"\\[pP]")
_QUANTIFIERS: Final = frozenset("*+?")
_CLASSES: Final = frozenset("dws")
_OPPOSITES: Final = frozenset("DWSC")


class TooWide(ValueError):
    """The pattern holds what cannot be reckoned, or takes milliseconds by itself; its text says what."""


def pattern_steps(pattern: str) -> int:
    """Steps of one evaluation over a text of 512 characters, at most. Raises TooWide.

    A pattern that is none comes out as some number: RE2 says what is wrong with it.
    """
    sums, last = [BASE], 0
    """Of each open group, what is in it so far; and what a repeat would repeat."""
    for atom in _ATOM.finditer(pattern):
        kind = str(atom.lastgroup if atom.lastgroup not in ("least", "more", "most") else "repeat")
        if kind == "unicode" or (kind == "set" and _UNICODE.search(atom[0])):
            raise TooWide(
                "`\\p`, `\\P` and `\\Q` are not for conditions; write the characters or a class such as [a-z]"
            )
        if kind == "opens":
            sums.append(0)
            last = 0
        elif kind == "closes":
            last = sums.pop() if len(sums) > 1 else 0
            _add(sums, last)
        elif kind == "repeat":
            times = max(int(part) for part in (atom["least"], atom["most"] or "0")) + 1
            _add(sums, last * (times - 1))
            last *= times
        elif atom[0] in _QUANTIFIERS:
            _add(sums, _SIGN)
        elif kind != "flags":
            last = _weight(kind, atom[0])
            _add(sums, last)
    return sum(sums)


def _add(sums: list[int], steps: int) -> None:
    sums[-1] += steps


def _weight(kind: str, text: str) -> int:
    if kind == "set":
        opposite = text.startswith("[^") or any(f"\\{letter}" in text for letter in _OPPOSITES) or "[:^" in text
        return (_ANY if opposite else _CLASS) + _WIDE * sum(not char.isascii() for char in text)
    if kind == "escape":
        return _ANY if text[1] in _OPPOSITES else _CLASS if text[1] in _CLASSES else _CHAR if len(text) < 3 else _WIDE
    if text in "|^$":
        return _SIGN
    return _ANY if text == "." else _CHAR if text.isascii() else _WIDE
