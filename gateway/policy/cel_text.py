"""The text of a CEL expression as tokens, and the readings it names: `fleet.load`, `backend["h100"].load`.

cel-cpp parses and checks; this only finds the names, because the library knows variables and maps, not our roots: each
reading becomes one typed variable, written over its place with blanks up to the same length, so that every column that
the checker reports is one of the user's own text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.policy.cel_names import BACKEND, FIELDS, MACROS
from gateway.policy.source import printable
from gateway.policy.validate import listed, nearest

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)
      | (?P<text>(?:[bB]?[rR]|[rR][bB])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
               | [bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[0-9][A-Za-z0-9_.]*)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN_TEXT: Final = re.compile(r"(['\"])([^\\]*)\1", re.DOTALL)
_BEFORE_TEST: Final = frozenset("(!&|?:,[")
"""What may stand before `"x" in request.headers`: anything else would make the text part of a larger operand."""

LONGEST_FACT: Final = 64
"""Items that a list among the facts is reckoned with."""
_JOIN_STEPS: Final = 20
"""Of a `+` in a macro, which may join texts."""
MAX_STEPS: Final = 20_000
"""A step takes at most some 70 ns (docs/adr/0011-cel.md): 1.4 ms, which no event loop notices."""


class CelFault(ValueError):
    """What is wrong with an expression; `offset` is the 0-based character in it that the message is about."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message, self.offset = message, offset


class Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Named:
    """One reading as it is written at `start`..`end`. `path` is root, (backend or `headers`,) field or header name;
    `root`: where its first word stands; `asks`: only whether it is known, as `has(...)` does."""

    path: tuple[str, ...]
    start: int
    end: int
    root: int
    asks: bool


def tokens(source: str) -> list[Token]:
    """All but blanks and comments. Whatever is no token of CEL comes out as signs, for the real parser to refuse."""
    found = (Token(str(match.lastgroup), match[0], match.start()) for match in _TOKEN.finditer(source))
    return [token for token in found if token.kind != "blank"]


def plain_text(token: Token) -> str | None:
    """What a text without escapes says; None for any other token."""
    match = _PLAIN_TEXT.fullmatch(token.text) if token.kind == "text" else None
    return match[2] if match is not None else None


def readings(found: list[Token], backends: Collection[str]) -> Iterator[Named]:
    """Every reading that the expression names, in order. Raises CelFault for a name that is not declared."""
    for index, token in enumerate(found):
        if token.kind == "name" and token.text in FIELDS and _sign(found, index - 1) != ".":
            yield _reading(found, index, backends)


def _reading(found: list[Token], index: int, backends: Collection[str]) -> Named:
    root = found[index]
    names, after = [root.text], index + 1
    if root.text == BACKEND:
        after = _step(found, after, names, root, backends, "backend")
    after = _step(found, after, names, root, FIELDS[root.text], "field")
    if names == ["request", "headers"]:
        return _header(found, index, after)
    return _asked(found, index, after, tuple(names))


def _step(found: list[Token], index: int, names: list[str], root: Token, known: Collection[str], what: str) -> int:
    """Reads `.name` or `["name"]` at `index` into `names`; gives the index behind it."""
    step = _key(found, index)
    so_far = ".".join(names)
    if step is None:
        raise CelFault(f"`{so_far}` has no value of its own: name a {what} of it; {choices(known)}", root.start)
    name, place, after = step
    if name not in known:
        raise CelFault(f"`{so_far}` has no {what} `{printable(name)}`; {nearest(name, list(known))}", place)
    names.append(name)
    return after


def _key(found: list[Token], index: int) -> tuple[str, int, int] | None:
    """The name that `.name` or `["name"]` at `index` says, where it stands, and the index behind it."""
    sign, name = _sign(found, index), found[index + 1] if index + 1 < len(found) else None
    if name is None:
        return None
    if sign == "." and name.kind == "name" and _sign(found, index + 2) != "(":
        return name.text, name.start, index + 2
    if sign == "[" and _sign(found, index + 2) == "]" and (text := _PLAIN_TEXT.fullmatch(name.text)):
        return text[2], name.start + 1, index + 3
    return None


def _header(found: list[Token], index: int, after: int) -> Named:
    """`request.headers["x"]`, or `"x" in request.headers`, which asks. Its name must be known now: only the headers
    that a policy names are kept of a request."""
    step = _key(found, after)
    if step is not None:
        return _asked(found, index, step[2], ("request", "headers", step[0].lower()))
    before = _sign(found, index - 3)
    text = _PLAIN_TEXT.fullmatch(found[index - 2].text) if index >= 2 else None
    if text is None or found[index - 1].text != "in" or not (before is None or before in _BEFORE_TEST):
        advice = 'write `request.headers["x-name"]` or `"x-name" in request.headers`'
        raise CelFault(f"the header must be named here: {advice}", found[index].start)
    path = ("request", "headers", text[2].lower())
    return Named(path, found[index - 2].start, found[after - 1].end, found[index].start, asks=True)


def _asked(found: list[Token], index: int, after: int, path: tuple[str, ...]) -> Named:
    """The reading at `index`..`after`, together with the `has(...)` around it."""
    opens = _sign(found, index - 1) == "(" and index >= 2 and found[index - 2].text == "has"
    if opens and _sign(found, after) == ")":
        return Named(path, found[index - 2].start, found[after].end, found[index].start, asks=True)
    return Named(path, found[index].start, found[after - 1].end, found[index].start, asks=False)


def _sign(found: list[Token], index: int) -> str | None:
    return found[index].text if 0 <= index < len(found) else None


def choices(known: Collection[str]) -> str:
    """A few of `known`, for a message."""
    return f"there are {listed(known)}" if known else "there is none"


def refuse_costly(found: list[Token], pattern_steps: Callable[[Token], int]) -> None:
    """Bounds the time and the memory that an evaluation can take, from the text alone. Raises CelFault.

    Counts steps: one per token, more for a `+` in a macro and for a `matches`, and those of a macro's body once per
    round. `pattern_steps` gives those of a written pattern; each `+` of the expression may make the text that it is
    held against longer by one fact. A list that is written out has at most as many items as there are tokens before the
    macro. One macro within another would multiply the rounds, and a `map` of what was mapped may double the values each
    time: both are refused.
    """
    steps, rounds, lengths = 0, 1, 1 + sum(token.text == "+" for token in found)
    frames: list[tuple[bool, int]] = []
    """Of each open bracket: whether something in it, or before it, was mapped; and the rounds around it."""
    mapped: dict[int, bool] = {}
    """The same of each bracket that was closed, by its index."""
    for index, token in enumerate(found):
        if token.kind == "name" and token.text == "matches" and _sign(found, index + 1) == "(":
            steps += rounds * lengths * pattern_steps(_pattern_of(found, index))
        steps += rounds * (_JOIN_STEPS if rounds > 1 and token.text == "+" else 1)
        if steps > MAX_STEPS:
            raise CelFault("could take long: fewer items, or less to do with each", token.start)
        if token.kind != "sign":
            continue
        if token.text in ("(", "[", "{"):
            called = found[index - 1] if token.text == "(" and _sign(found, index - 2) == "." else None
            before = mapped.get(index - (3 if called else 1), False)
            macro = called if called and called.text in MACROS else None
            if macro and rounds > 1:
                raise CelFault(f"`{macro.text}` stands within another macro; one level is the most", macro.start)
            if macro and macro.text == "map" and before:
                raise CelFault("`map` of what was mapped already; do both in one", macro.start)
            frames.append((before or (macro is not None and macro.text == "map"), rounds))
            if macro:
                rounds = LONGEST_FACT if found[index - 3].kind == "name" else max(LONGEST_FACT, index)
        elif token.text in (")", "]", "}") and frames:
            mapped[index], rounds = frames.pop()
            if frames and mapped[index]:
                frames[-1] = (True, frames[-1][1])


def map_keys(found: list[Token]) -> Iterator[list[Token]]:
    """The tokens of every key of a map that is written out. A `{` behind a name begins a message, whose keys are
    names."""
    opened: list[int | None] = []
    """Of each open bracket, where the next key of its map begins, or began; None where it is no map."""
    asked = 0
    for index, token in enumerate(found):
        if token.kind != "sign":
            continue
        if token.text in ("(", "[", "{"):
            message = index > 0 and found[index - 1].kind == "name" and found[index - 1].text != "in"
            opened.append(index + 1 if token.text == "{" and not message else None)
        elif token.text in (")", "]", "}") and opened:
            opened.pop()
        elif token.text == "?":
            asked += 1
        elif token.text == ":" and asked:
            asked -= 1
        elif opened and (begin := opened[-1]) is not None:
            if token.text == ":" and begin < index:
                yield found[begin:index]
            elif token.text == ",":
                opened[-1] = index + 1


def _pattern_of(found: list[Token], index: int) -> Token:
    """The written pattern of the `matches` at `index`: one that is worked out could be a client's, and take seconds."""
    called, pattern, closes = _sign(found, index - 1) == ".", found[index + 2 : index + 3], _sign(found, index + 3)
    own = index >= 2 and (found[index - 2].kind != "sign" or found[index - 2].text in (")", "]"))
    if not (called and own and pattern and pattern[0].kind == "text" and closes == ")"):
        said = "`matches` takes a pattern that is written out: `request.model.matches('^llama-')`"
        raise CelFault(said, found[index].start)
    return pattern[0]


def overwritten(source: str, named: Named, variable: str) -> str:
    """`source` with `variable`, no longer than the shortest root, in place of the reading: blanks fill the rest, and
    line breaks stay."""
    blank = "".join(char if char == "\n" else " " for char in source[named.start : named.end])
    at = named.root - named.start
    return source[: named.start] + blank[:at] + variable + blank[at + len(variable) :] + source[named.end :]
