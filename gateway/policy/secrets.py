"""References to secrets: `${env:NAME}` and `${file:PATH}`, resolved when a folder is compiled.

No message here ever holds a secret, nor what might be one because somebody wrote it in the wrong place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

_REFERENCE = re.compile(r"\$\{(env|file):([^{}]+)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_LONGEST_FILE = 65_536


def resolve(
    text: str, root: Path, env: Mapping[str, str] | None, *, literal_allowed: bool, account_allowed: bool = False
) -> str | None:
    """The secret that `text` refers to; None where `env` is None, which means that secrets are not wanted.
    `account_allowed`: it may be a service account, which is exchanged for what is sent.

    Paths are relative to `root`. Raises ValueError with a sentence for the person who writes the policy.
    """
    reference = _REFERENCE.fullmatch(text)
    if reference is None:
        if literal_allowed and "${" not in text:
            return _sendable(text, "this key")
        raise ValueError("write ${env:NAME} or ${file:PATH}; a secret never stands in a policy file")
    scheme, name = reference.groups()
    if scheme == "env" and not _VARIABLE.fullmatch(name):
        raise ValueError("${env:NAME} needs the name of an environment variable: letters, digits and `_`")
    if env is None:
        return None
    value, source = _from_env(name, env) if scheme == "env" else _from_file(name, root)
    account = _account(value) if account_allowed else None
    return _sendable(value, source) if account is None else account


def _from_env(name: str, env: Mapping[str, str]) -> tuple[str, str]:
    value = env.get(name, "")
    if not value:
        raise ValueError(f"environment variable {name} is not set; set it, or name another one")
    return value, f"environment variable {name}"


def _from_file(name: str, root: Path) -> tuple[str, str]:
    path = root / name
    try:
        if not path.is_file():  # a named pipe would block
            raise ValueError
        with path.open("rb") as file:
            value = file.read(_LONGEST_FILE).decode("ascii").strip()
    except (OSError, ValueError):
        raise ValueError("the file of ${file:PATH} cannot be read as text; check path and permissions") from None
    return value, "the file of ${file:PATH}"


def _sendable(value: str, source: str) -> str:
    if not _HEADER_SAFE.fullmatch(value):
        raise ValueError(f"{source} is empty or holds characters that cannot be sent in a header")
    return value


def _account(value: str) -> str | None:
    """A service account, which is JSON and is never sent, in one line; None: it is none."""
    if not value.startswith("{"):
        return None
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return json.dumps(found) if found.get("type") == "service_account" else None
