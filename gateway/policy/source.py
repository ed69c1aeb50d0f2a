"""One YAML file as plain data plus the place of every key and value, so that a fault can point at its line and column.

The language is a small, safe part of YAML: mappings with text keys, lists, text, numbers, true/false and null. Anchors,
aliases, tags and duplicate keys are refused: none is needed, and each has hidden a surprise from somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from gateway.policy.scalars import Place, place_within
from gateway.policy.syntax_hints import syntax_hint

Path = tuple[str | int, ...]
"""Where a value sits: `("backends", 0, "name")`."""
MAX_BYTES = 1 << 20
"""A policy file of 1 MiB would hold some 10,000 upstreams; beyond that something is wrong."""
MAX_DEPTH = 32
"""The deepest key of the language lies 7 levels down; request bodies in cases need a few more."""
MAX_BITS = 63
START: Place = (1, 1)

_WORD = re.compile(r"[^\s\"':`\[\]]+")
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value", f"{_TAG}merge"})
_PLAIN_TAGS = frozenset({f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float")})


class _Mark(Protocol):
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in one file, in the order in which faults are printed."""

    file: str
    place: Place
    path: str
    text: str

    def __str__(self) -> str:
        line, column = self.place
        return f"{self.file}:{line}:{column}: {self.path}: {self.text}"


@dataclass(slots=True)
class Document:
    """A parsed file. `data` is None where it could not be read at all; then `faults` says why."""

    file: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    text: str = field(default="", repr=False)

    def at(self, path: Path, *, key: bool = False) -> Place:
        """Where `path` is written; for a key that is not there, where the mapping that lacks it begins."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, START)

    def _written(self, path: Path) -> Path:
        """`path` without what its value was only read as: one value may stand where a list or an object may."""
        made: Path = ()
        for part in path if self.data is not None else ():
            inside = (*made, part)
            if inside in self.values or (isinstance(part, str) and self._is_mapping(made)):
                made = inside
        return path if self.data is None else made

    def _is_mapping(self, path: Path) -> bool:
        node: Any = self.data
        for part in path:
            node = node[int(part)] if isinstance(node, list) else (node or {}).get(part)
        return node is None or isinstance(node, dict)

    def fault(self, path: Path, text: str, *, key: bool = False) -> Fault:
        path = self._written(path)
        return Fault(self.file, self.at(path, key=key), dotted(path), text)

    def fault_within(self, path: Path, value: str, offset: int, text: str) -> Fault:
        """A fault at character `offset` of the text `value` that is written at `path`."""
        path = self._written(path)
        return Fault(self.file, place_within(self.text, self.at(path), value, offset), dotted(path), text)


def dotted(path: Path) -> str:
    """`("backends", 0, "name")` as a person reads it: `backends[0].name`; the whole file is `(file)`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_as_key(part)}"
    return text.removeprefix(".") or "(file)"


def _as_key(text: str) -> str:
    """In quotes where it would otherwise not be seen as one word."""
    shown = printable(text)
    return shown if _WORD.fullmatch(shown) else f'"{shown}"'


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Each fault once, by file, line and column."""
    return sorted(set(faults), key=lambda fault: (fault.file, fault.place, fault.path, fault.text))


def printable(text: str, longest: int = 60) -> str:
    """`text` fit for one line of a report: control characters escaped, cut at `longest`."""
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return clean if len(clean) <= longest else f"{clean[:longest]}..."


def parse(file: str, raw: bytes) -> Document:
    """The document in `raw`, named `file` in its faults. Never raises: what cannot be read is a fault."""
    document = Document(file)
    if len(raw) > MAX_BYTES:
        document.faults.append(
            Fault(file, START, "(file)", f"is larger than {MAX_BYTES >> 20} MiB; split or shorten it")
        )
        return document
    try:
        text = document.text = raw.decode("utf-8-sig")
        document.faults.extend(_forbidden(file, text))
        if not document.faults:
            _load(document, text)
    except UnicodeDecodeError as error:
        where = _place_of_byte(raw, error.start)
        document.faults.append(Fault(file, where, "(file)", "is not UTF-8; save it as UTF-8 text"))
    except yaml.YAMLError as error:
        document.faults.append(_syntax_fault(file, raw, error))
    return document


def _forbidden(file: str, text: str) -> Iterator[Fault]:
    """Anchors, aliases, second documents and absurd depth, found before a tree is built from them."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        complaint = None
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            complaint = "holds more than one document; keep one" if documents > 1 else None
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.AliasEvent):
                complaint = "aliases are not part of the policy language; put a value that begins with `*` in quotes"
            elif event.anchor is not None:
                complaint = "anchors and aliases are not part of the policy language; write the value out"
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
        if depth > MAX_DEPTH:
            complaint = f"is nested deeper than {MAX_DEPTH} levels"
        if complaint is not None:
            yield Fault(file, _place(event.start_mark), "(file)", complaint)
            return


def _load(document: Document, text: str) -> None:
    loader = yaml.CSafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is not None:
            document.data = _Reader(document, loader).read(root, ())
    finally:
        loader.dispose()


class _Reader:
    """Turns nodes into data and notes where each was written."""

    def __init__(self, document: Document, loader: yaml.CSafeLoader) -> None:
        self.document = document
        self.loader = loader

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.document.values[path] = _place(node.start_mark)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self.read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self.read_scalar(node, path)
        return self.complain(path, "tags such as `!name` are not part of the policy language")

    def read_mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _TEXT_TAGS:
                self.complain_at(place, path, "keys must be text; put this one in quotes")
                continue
            inner = (*path, key_node.value)
            if key_node.value in data:
                first = self.document.keys[inner][0]
                self.complain_at(place, inner, f"is written twice; the first is in line {first}")
                continue
            self.document.keys[inner] = place
            data[key_node.value] = self.read(value_node, inner)
        return data

    def read_scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        if node.tag in _TEXT_TAGS:
            return node.value
        if node.tag not in _PLAIN_TAGS:
            return self.complain(path, "tags such as `!name` are not part of the policy language")
        try:
            value = self.loader.construct_object(node)
        except (ValueError, KeyError, IndexError, yaml.YAMLError):
            return self.complain(path, "cannot be read as a value; put text in quotes")
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            return self.complain(path, "is a number too large to mean anything here")
        return value

    def complain(self, path: Path, text: str) -> None:
        self.document.faults.append(self.document.fault(path, text))

    def complain_at(self, place: Place, path: Path, text: str) -> None:
        self.document.faults.append(Fault(self.document.file, place, dotted(path), text))


def _place(mark: _Mark | None) -> Place:
    return (mark.line + 1, mark.column + 1) if mark is not None else START


def _place_of_byte(raw: bytes, position: int) -> Place:
    before = raw[:position]
    return before.count(b"\n") + 1, position - (before.rfind(b"\n") + 1) + 1


def _is_tab(raw: bytes, place: Place) -> bool:
    """Whether only white space with a tab in it stands at or before `place` in its line."""
    lines = raw.splitlines()
    before = lines[place[0] - 1][: place[1]] if place[0] <= len(lines) else b""
    return not before.strip() and b"\t" in before


def _syntax_fault(file: str, raw: bytes, error: yaml.YAMLError) -> Fault:
    """What is likely wrong, and the parser's own words, which name marks and tokens but never a value."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        place = _place(error.problem_mark)
        if _is_tab(raw, place):
            return Fault(file, place, "(file)", "begins with a tab; YAML is indented with spaces")
        said = f"not valid YAML: {printable(error.problem or 'unreadable')}"
        hint = syntax_hint(raw.decode("utf-8-sig", "replace"), error)
        return Fault(file, place, "(file)", f"is {said}" if hint is None else f"{hint} ({said})")
    position = getattr(error, "position", None)
    where = _place_of_byte(raw, position) if isinstance(position, int) else START
    return Fault(file, where, "(file)", "is not valid YAML: it holds a character that is not allowed")
