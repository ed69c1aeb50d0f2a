"""Names against patterns in which `*` and `?` stand for anything, and every other character for itself."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

_REMEMBERED = 4096
"""Globs; a folder has some hundreds at most."""


def fits(name: str, globs: Sequence[str]) -> bool:
    """Whether one of `globs` stands for `name`; no glob stands for everything."""
    return not globs or any(fnmatchcase(name, _escaped(glob)) for glob in globs)


@lru_cache(_REMEMBERED)
def _escaped(glob: str) -> str:
    """`[` would begin a class of characters: `fnmatch` has no other special character."""
    return glob.replace("[", "[[]")
