"""Checks that many parts share: a name that is not known, a name that is taken, a demand that is not understood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gateway.errors import ResidencyUnknown
from gateway.policy.source import Document, Fault, Path, dotted, printable
from gateway.policy.validate import nearest
from gateway.routing.globs import fits
from gateway.routing.residency import parse_demand


def unknown(document: Document, path: Path, what: str, name: str, known: frozenset[str] | None) -> Iterator[Fault]:
    """A fault where `name` is not one of `known`; None knows nothing and so says nothing."""
    if known is not None and name not in known:
        yield document.fault(path, f"unknown {what} `{printable(name)}`; {nearest(name, known)}")


def repeated(document: Document, names: Iterable[tuple[Path, str]]) -> Iterator[Fault]:
    """A fault for every name that an earlier path has already, upper and lower case alike."""
    first: dict[str, tuple[Path, str]] = {}
    for path, name in names:
        other, taken = first.setdefault(name.lower(), (path, name))
        if other != path and taken == name:
            yield document.fault(path, f"`{printable(name)}` is taken by {dotted(other)}; every name stands once")
        elif other != path:
            said = f"`{name}` is `{taken}` of {dotted(other)} in other letters; names must differ in more than case"
            yield document.fault(path, said)


def demand_faults(document: Document, path: Path, text: str | None, zones: frozenset[str] | None) -> Iterator[Fault]:
    """A fault where the residency demand `text` cannot be understood; the words are those that clients get."""
    if text is None or zones is None:
        return
    try:
        parse_demand(text, zones, param="residency")
    except ResidencyUnknown as error:
        yield document.fault(path, error.message.removeprefix("residency: "))


def matching(globs: Sequence[str] | None, names: Iterable[str]) -> frozenset[str]:
    """The names that one of `globs` stands for; None stands for all."""
    return frozenset(name for name in names if fits(name, globs or ()))
