"""`when:` conditions: a CEL expression, type-checked once, asked for every request that comes to its rule.

Google's cel-cpp parses, checks and evaluates (docs/adr/0011-cel.md); `cel_text` finds the readings in the text, and
`cel_names` declares them. A reading that nobody published is unknown: whatever depends on it does not hold.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

from cel_expr_python import cel

from gateway.policy.cel_names import FIELDS, FUNCTIONS, operators
from gateway.policy.cel_pattern import TooWide, pattern_steps
from gateway.policy.cel_slips import refuse_slips
from gateway.policy.cel_text import CelFault, Named, Token, map_keys, overwritten, readings, refuse_costly, tokens
from gateway.policy.match_schema import MAX_EXPRESSION
from gateway.policy.source import printable
from gateway.policy.validate import nearest

_VARIABLE = "__{:x}"
_HEADER = ("request", "headers")
_DEEPEST = "is nested deeper than 32 levels: use fewer parentheses or operators in a row, or split the rule"
_ERROR: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_NO_OVERLOAD: Final = re.compile(r"found no matching overload for '(.+?)' applied to '(.*)'")
_UNDECLARED: Final = re.compile(r"undeclared reference to '(.+?)'")
_ARITHMETIC: Final = frozenset("+-*/%")
_log = logging.getLogger(__name__)
_reported: set[str] = set()
"""Expressions whose failure was logged; at most as many as policies ever held, and each once."""


class _Wanted(NamedTuple):
    """Which fact a variable of the program stands for: `facts[root][key]`, or one mapping deeper with `inner`."""

    variable: str
    root: str
    key: str
    inner: str | None
    asks: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds or does not, for the facts of one request. Equal where the text is.

    `reads` names what it depends on: `request.prompt_tokens`, `fleet.gpu_util`, `backend.h100.load`,
    `request.headers`; `headers` the headers, in lower case.
    """

    source: str
    reads: frozenset[str] = field(compare=False)
    headers: frozenset[str] = field(compare=False)
    _wanted: tuple[_Wanted, ...] = field(compare=False, repr=False)
    _program: cel.Expression = field(compare=False, repr=False)

    def __call__(self, facts: Mapping[str, Mapping[str, object]]) -> bool:
        """Whether it holds. A fact that is absent or None is unknown, and makes what depends on it not hold; so does
        an evaluation that fails (overflow, a division by zero). Never raises."""
        try:
            given = self._given(facts)
            value = self._program.eval(data=given).plain_value()
        except Exception:  # foreign code on the path of every request: no condition may cost an answer
            self._report()
            return False
        if isinstance(value, bool):
            return value
        if len(given) == len(self._wanted):  # all was known, and yet it failed
            self._report()
        return False

    def _given(self, facts: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
        given: dict[str, object] = {}
        for variable, root, key, inner, asks in self._wanted:
            value = facts[root].get(key)
            if inner is not None and value is not None:
                value = value.get(inner)  # type: ignore[attr-defined]  # backends and headers are mappings
            if asks:
                given[variable] = value is not None
            elif value is not None:
                given[variable] = value
        return given

    def _report(self) -> None:
        """Says once per expression that it cannot be worked out; never with a value, which may be a client's."""
        if self.source not in _reported:
            _reported.add(self.source)
            _log.warning("a condition cannot be worked out and does not hold: %s", self.source)


def compile_condition(source: str, backends: Collection[str] = ()) -> Condition:
    """The condition that `source` says; `backends` are the names that `backend` may be asked for.

    Raises CelFault, at the exact character, for what is no CEL, names nothing declared, has the wrong type or arity,
    or could take long: `cel_text.MAX_STEPS` bounds the time, cel-cpp itself the nesting (32 levels).
    """
    _refuse_unreadable(source)
    found = tokens(source)
    _refuse_reserved(found)
    refuse_slips(found)
    refuse_costly(found, _pattern_steps)
    named = list(readings(found, backends))
    variables = {
        key: _VARIABLE.format(index) for index, key in enumerate(dict.fromkeys((n.path, n.asks) for n in named))
    }
    text = source
    for one in named:
        text = overwritten(text, one, variables[one.path, one.asks])
    types = {name: cel.Type.BOOL if asks else _type(path) for (path, asks), name in variables.items()}
    program = _checked(text, types, source, found)
    return Condition(
        source,
        reads=frozenset(_read(one) for one in named),
        headers=frozenset(one.path[2] for one in named if one.path[:2] == _HEADER),
        _wanted=tuple(_wanted(name, path, asks) for (path, asks), name in variables.items()),
        _program=program,
    )


def _refuse_unreadable(source: str) -> None:
    if len(source) > MAX_EXPRESSION:
        raise CelFault(f"is {len(source)} characters long; {MAX_EXPRESSION} are the most", 0)
    strange = re.search(r"[\ud800-\udfff\x00]", source)
    if strange is not None:
        raise CelFault("holds a character that is not allowed", strange.start())
    if not source.strip():
        raise CelFault("is empty; write a condition such as `fleet.load > 0.8`", 0)


def _refuse_reserved(found: list[Token]) -> None:
    for token in found:
        if token.kind == "name" and token.text.startswith("__"):
            raise CelFault("names that begin with `__` are not for conditions", token.start)


def _type(path: tuple[str, ...]) -> cel.Type:
    if path[:2] == _HEADER:
        return cel.Type.STRING
    return FIELDS[path[0]][path[-1]]


def _read(named: Named) -> str:
    return "request.headers" if named.path[:2] == _HEADER else ".".join(named.path)


def _wanted(variable: str, path: tuple[str, ...], asks: bool) -> _Wanted:
    return _Wanted(variable, path[0], path[1], path[2] if len(path) > 2 else None, asks)


@cache
def _library() -> cel.EnvConfig:
    return cel.NewEnvConfigFromYaml(operators())


def _checked(text: str, types: Mapping[str, cel.Type], source: str, found: list[Token]) -> cel.Expression:
    env = cel.NewEnv(config=_library(), variables=dict(types))
    try:
        program = env.compile(text)
    except RuntimeError as error:
        raise _fault(str(error), source, found) from None
    for key in map_keys(found):
        if not _is_key(env, text[key[0].start : key[-1].end]):
            raise CelFault("a key of a map must be text, int or bool, and no variable of a macro", key[0].start)
    try:
        kind = program.return_type()
        name = _spoken(kind.name().lower())
    except RuntimeError:  # a type that cel-cpp checks and cannot name
        raise CelFault("must be true or false", found[0].start if found else 0) from None
    if kind != cel.Type.BOOL:
        raise CelFault(f"must be true or false, but it is {name}", found[0].start if found else 0)
    for one, _, pattern in zip(found, found[1:], found[2:], strict=False):
        if one.kind == "name" and one.text == "matches" and pattern.kind == "text":
            _refuse_pattern(env, pattern)
    return program


def _is_key(env: cel.Env, text: str) -> bool:
    """Whether cel-cpp can look it up; a variable of a macro, which means nothing by itself, is none."""
    try:
        return env.compile(text).return_type() in (cel.Type.STRING, cel.Type.INT, cel.Type.BOOL)
    except RuntimeError:
        return False


def _pattern_steps(pattern: Token) -> int:
    """Raises CelFault for a pattern that would take long whatever it is held against."""
    try:
        value = cel.NewEnv(config=_library()).compile(pattern.text).eval(data={}).plain_value()
        return pattern_steps(value) if isinstance(value, str) else 0
    except TooWide as fault:
        raise CelFault(str(fault), pattern.start) from None
    except RuntimeError:  # no text: the checker says so
        return 0


def _refuse_pattern(env: cel.Env, pattern: Token) -> None:
    """A written pattern is tried now: cel-cpp would look at it when it is first needed."""
    tried = env.compile(f"''.matches({pattern.text})").eval(data={}).plain_value()
    if not isinstance(tried, bool):
        raise CelFault(f"is no regular expression of RE2: {str(tried).partition(': ')[2]}", pattern.start)


def _fault(said: str, source: str, found: list[Token]) -> CelFault:
    """cel-cpp's first complaint, in the user's words and at the user's character."""
    match = _ERROR.search(said)
    if match is None:
        deep = "recursion" in said
        return CelFault(_DEEPEST if deep else "would take too long", 0)
    line, column, complaint = int(match[1]), int(match[2]), match[3].strip()
    offset = sum(len(one) + 1 for one in source.split("\n")[: line - 1]) + column - 1
    if overload := _NO_OVERLOAD.match(complaint):
        return _overload_fault(overload[1], overload[2], _word_before(found, offset))
    if undeclared := _UNDECLARED.match(complaint):
        return _undeclared_fault(undeclared[1], found, offset)
    if complaint.startswith("Syntax error"):
        here = next((token for token in found if token.start <= offset < token.end), None)
        if here is None:
            return CelFault("is not CEL: it ends too early", found[-1].end if found else 0)
        return CelFault(f"is not CEL: unexpected `{printable(here.text, 40)}`", offset)
    return CelFault(complaint, offset)


def _overload_fault(function: str, given: str, offset: int) -> CelFault:
    kinds = [_spoken(kind) for kind in given.strip("()").split(", ")]
    sign = function.removeprefix("@").strip("_").replace("_", " ").strip()
    if function == "_?_:_":
        return CelFault(f"`? :` takes a bool and two of one type, not {' and '.join(kinds)}", offset)
    unlike = sign in _ARITHMETIC and {*kinds} <= {"int", "uint", "double"}
    advice = "; write both alike, such as 2.0, or double(x)" if unlike else ""
    return CelFault(f"`{sign}` cannot take {' and '.join(kinds)}{advice}", offset)


def _spoken(kind: str) -> str:
    return kind.replace("<", "(").replace(">", ")")


def _word_before(found: list[Token], offset: int) -> int:
    """A call is reported at its parenthesis: the name before it says more."""
    for token, after in pairwise(found):
        if after.start == offset and after.text == "(" and token.kind == "name":
            return token.start
    return offset


def _undeclared_fault(name: str, found: list[Token], offset: int) -> CelFault:
    first = name.split(".")[0]
    here = max((token.start for token in found if token.text == first and token.start <= offset), default=offset)
    if name in FUNCTIONS:
        return CelFault(f"`{name}` does not take these arguments, or not so many", here)
    called = any(one.start == here and two.text == "(" for one, two in pairwise(found))
    return CelFault(f"unknown name `{name[:64]}`; {nearest(first, FUNCTIONS if called else list(FIELDS))}", here)
