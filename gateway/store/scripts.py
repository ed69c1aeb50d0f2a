"""Lua scripts by name: the text lives in a `.lua` file beside the module that runs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One script. The store knows it by the SHA-1 of its text (EVALSHA), so that a call carries 40 bytes of it."""

    name: str
    text: str = field(repr=False)
    sha1: str


def load(package: str, *names: str) -> Script:
    """Read `{name}.lua` from `package`. Of several names the earlier ones are libraries, put in front of the last."""
    folder = files(package)
    text = "\n".join(folder.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names)
    # SHA-1 is the name that the Redis protocol gives a script; nothing relies on it as a signature.
    return Script(names[-1], text, sha1(text.encode(), usedforsecurity=False).hexdigest())
