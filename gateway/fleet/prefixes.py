"""Who read which beginning of a prompt lately, as far as this replica sent it there: where prefix caches hold it.

Bounded, and a guess: workers evict without telling. What is not known falls to the ring (routing/affinity.py), by the
first beginning that is new here. That is the same key for the next turn of a conversation at another replica, as far as
both know what prompts have in common.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.model import GenRequest

REMEMBERED = 131_072
"""Beginnings; with some twenty for each long conversation, 25 MB."""
READERS = 4
"""Workers kept of each. What so many read, and others go on from in different ways, is read everywhere soon."""
COMMON = 3
"""Different continuations that make a beginning a common one, such as a system prompt; a conversation has one, and one
more where its user tries again."""


MOST_NEWS = 4096
"""Kept while nobody can be told."""

News = tuple[int, str]
"""A beginning, and the upstream that reads it."""


class Known(NamedTuple):
    """`readers` newest first; `key` is the one under which an owner is looked for, None where there is nothing new."""

    readers: tuple[str, ...]
    key: int | None


@dataclass(slots=True)
class _Entry:
    readers: tuple[str, ...]
    key: int
    """The one under which it was placed first."""
    continued: int = 0


@dataclass(slots=True)
class Prefixes:
    most: int = REMEMBERED
    news: list[News] = field(default_factory=list)
    """What other replicas would guess wrong, until it is told (`prefix_news.py`)."""
    _entries: OrderedDict[int, _Entry] = field(default_factory=OrderedDict)

    def known(self, request: GenRequest) -> GenRequest:
        """`request` with what is known of its beginnings."""
        if not request.beginnings:
            return request
        found = self.find(request.beginnings)
        return replace(request, prefix=found.key, read_by=found.readers)

    def sent(self, request: GenRequest, upstream: str) -> None:
        """It leaves for `upstream`; the request is as `known` gave it."""
        self.read(request.beginnings, upstream, request.prefix)

    def find(self, beginnings: tuple[int, ...]) -> Known:
        """Of a request's beginnings, shortest first."""
        if not beginnings:
            return Known((), None)
        known = self._longest(beginnings)
        if known < 0:
            return Known((), beginnings[0])
        entry, last = self._entries[beginnings[known]], known == len(beginnings) - 1
        if last or entry.continued < COMMON:
            return Known(entry.readers, entry.key)
        # The lengths of beginnings grow by a constant factor: what is half of the longest lies four places before it.
        most_of_it = len(beginnings) - 1 - known <= HALF_PLACES
        readers = entry.readers if most_of_it and len(entry.readers) < READERS else ()
        return Known(readers, beginnings[known + 1])

    def read(self, beginnings: tuple[int, ...], upstream: str, key: int | None) -> None:
        """It goes to `upstream`; `key` as `find` said."""
        if not beginnings:
            return
        known = self._longest(beginnings)
        before = self._entries[beginnings[known]] if known >= 0 else None
        if before is None or before.readers[0] != upstream or before.continued >= COMMON:
            self.news.append((beginnings[-1], upstream))
            del self.news[:-MOST_NEWS]
        if before is not None and known < len(beginnings) - 1:
            before.continued += 1
        for number, beginning in enumerate(beginnings):
            entry = self._entries.get(beginning)
            if entry is None:
                self._entries[beginning] = _Entry((upstream,), beginnings[0] if key is None else key)
                continue
            self._entries.move_to_end(beginning)
            if entry.readers[0] != upstream and (number == known or upstream not in entry.readers):
                others = [name for name in entry.readers if name != upstream]
                entry.readers = (upstream, *others[: READERS - 1])
        self._trim()

    def heard(self, news: Iterable[News]) -> None:
        """What another replica sent where."""
        for beginning, upstream in news:
            entry = self._entries.get(beginning)
            if entry is None:
                self._entries[beginning] = _Entry((upstream,), beginning)
            else:
                others = [name for name in entry.readers if name != upstream]
                entry.readers = (upstream, *others[: READERS - 1])
        self._trim()

    def _trim(self) -> None:
        while len(self._entries) > self.most:
            self._entries.popitem(last=False)

    def _longest(self, beginnings: tuple[int, ...]) -> int:
        """The place of the longest one that is known; -1 where none is."""
        for place in range(len(beginnings) - 1, -1, -1):
            if beginnings[place] in self._entries:
                return place
        return -1


HALF_PLACES = 4
"""1.2 ** 4 is about 2 (routing.affinity.GROWTH)."""
