"""What the gateway must know of one engine to read its load. The files beside this one describe theirs; `table.py` is
the table. Which endpoints an engine speaks: `routing/capability.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from gateway.model import Scrape


class Told(TypedDict, total=False):
    """Fields of a Scrape, those that a page beside the load told."""

    version: str
    seats: int
    kv_tokens: int
    models: tuple[str, ...] | None
    adapters: tuple[str, ...]
    asleep: bool
    healthy: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page that tells the load. `mine` tells whether it is this engine's. `read` gives a Scrape without `engine`.
    Neither ever raises."""

    path: str
    mine: Callable[[bytes], bool]
    read: Callable[[bytes], Scrape]
    last: bool = False
    """It only tells which engine this is: looked for when all else is not there."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A page that tells something else. `read` gets its status and body, and never raises; {}: nothing is learned.
    `once`: asked when the worker is found and after a restart, for what cannot change without one."""

    path: str
    read: Callable[[int, bytes], Told]
    once: bool = False


@dataclass(frozen=True, slots=True)
class Engine:
    """One row. Of several `pages` the first that is there is read: some need a flag to be switched on."""

    name: str
    pages: tuple[Page, ...]
    details: tuple[Detail, ...] = ()


def starts(*prefixes: str) -> Callable[[bytes], bool]:
    """A line begins with one of these."""
    lines = [prefix.encode() for prefix in prefixes]
    return lambda page: any(page.startswith(line) or b"\n" + line in page for line in lines)


def holds(pattern: bytes) -> Callable[[bytes], bool]:
    """This regular expression is in a page of JSON."""
    return lambda page: _JSON.match(page) is not None and re.search(pattern, page) is not None


_JSON = re.compile(rb"\s*[\[{]")
