"""A secret that a file keeps: made at random by whoever comes first, for its owner's eyes alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def once_written(path: Path) -> bytes:
    """The file's content, whole from the moment it is there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, secrets.token_hex(32).encode())
        os.fsync(file)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(file)
        draft.unlink()
    return path.read_bytes()
