"""Names against patterns in which `*` and `?` stand for anything."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def fits(name: str, globs: Sequence[str]) -> bool:
    """Whether one of `globs` stands for `name`; no glob stands for everything."""
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
