"""What people who know another language write in a condition, and comparisons with a text that never occurs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, get_args

from gateway.model import EndpointName, Kind, Priority
from gateway.policy.cel_text import CelFault, Token, plain_text, readings
from gateway.policy.schema import ModelIn
from gateway.policy.validate import nearest

_WORDS: Final = {"and": "&&", "or": "||", "not": "!"}
_MODALITIES: Final = get_args(ModelIn.model_fields["modality"].annotation)
_OCCURRING: Final[Mapping[str, tuple[str, ...]]] = {
    "request.endpoint": get_args(EndpointName),
    "request.modality": _MODALITIES,
    "request.priority": get_args(Priority),
    "tenant.priority": get_args(Priority),
    "backend.kind": get_args(Kind),
}
"""Readings that are one of a few texts."""


def refuse_slips(found: list[Token]) -> None:
    """Raises CelFault, with what to write, where the parser would only say that something is unexpected."""
    texts = [token.text for token in found]
    for index, token in enumerate(found):
        before = texts[index - 1] if index else ""
        if token.kind == "name" and before != "." and (sign := _WORDS.get(token.text.lower())):
            raise CelFault(f"`{token.text}` is not CEL: write {sign}", token.start)
        if token.text == "=" and not _joined(found, index):
            raise CelFault("`=` is not CEL: write ==", token.start)
        if texts[index : index + 4] == ["request", ".", "headers", "."] and before != ".":
            _refuse_dashes(found[index + 4 :])


def _joined(found: list[Token], index: int) -> bool:
    """Whether the `=` there is part of `==`, `!=`, `<=` or `>=`."""
    here = found[index]
    before = index > 0 and found[index - 1].end == here.start and found[index - 1].text in "=!<>"
    return before or (index + 1 < len(found) and found[index + 1].start == here.end and found[index + 1].text == "=")


def _refuse_dashes(name: list[Token]) -> None:
    """A header's name with `-` behind a dot would be a subtraction."""
    whole = ""
    for index, token in enumerate(name):
        if (index and token.start != name[index - 1].end) or not (
            token.text == "-" or token.kind in ("name", "number")
        ):
            break
        whole += token.text
    if "-" in whole.rstrip("-"):
        raise CelFault(f'write request.headers["{whole[:64]}"]', name[0].start)


def never_equal(found: list[Token], backends: Collection[str], models: Collection[str]) -> Iterator[tuple[int, str]]:
    """Comparisons of an expression that compiles with a text that its reading never is: character and sentence."""
    starts = {token.start: index for index, token in enumerate(found)}
    ends = {token.end: index for index, token in enumerate(found)}
    for named in readings(found, backends):
        name = f"{named.path[0]}.{named.path[-1]}"
        known = models if name == "request.model" else _OCCURRING.get(name)
        if known is None or named.asks:
            continue
        first, last = starts[named.start], ends[named.end]
        for token in (*_after(found[last + 1 :]), *_before(found[:first])):
            text = plain_text(token)
            if text is not None and text not in known:
                yield token.start, f"`{name}` is never `{text[:64]}`; {nearest(text, list(known))}"


def _after(rest: list[Token]) -> Iterator[Token]:
    """The texts in `== "a"`, `!= "a"` or `in ["a", "b"]`, which is how `rest` begins."""
    signs = [token.text for token in rest[:2]]
    if signs in (["=", "="], ["!", "="]):
        yield from rest[2:3]
    elif signs == ["in", "["]:
        for token in rest[2:]:
            if token.text == "]":
                return
            yield token


def _before(rest: list[Token]) -> Iterator[Token]:
    """The text in `"a" ==` or `"a" !=`, which is how `rest` ends."""
    if [token.text for token in rest[-2:]] in (["=", "="], ["!", "="]):
        yield from rest[-3:-2]
