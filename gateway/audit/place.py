"""The folder that holds a process's chains, its name, and the key of the MACs."""

from __future__ import annotations

from pathlib import Path

from gateway.errors import StartupFault
from gateway.store.key_file import once_written

KEY_FILE, PLACE_FILE = "audit.key", "place"
PLACE_CHARACTERS = 16
LEAST_KEY = 32
"""Characters: 16 bytes as hexadecimal digits."""


def audit_key(given: str, beside: Path) -> bytes:
    """The key: as `given`, or that of the file `audit.key` in the folder `beside`, made if it is not there.

    Raises StartupFault where it is too short to keep anything, or cannot be read or made.
    """
    try:
        text = given.encode() if given else once_written(beside / KEY_FILE)
    except OSError as fault:
        raise StartupFault(
            f"the audit key cannot be kept in {beside} ({fault.strerror}); set GATEWAY_AUDIT_KEY"
        ) from None
    return sound_key(text, "GATEWAY_AUDIT_KEY" if given else str(beside / KEY_FILE))


def read_key(path: Path) -> bytes:
    """The key that a file holds. Raises OSError, or StartupFault where it is too short."""
    return sound_key(path.read_bytes(), str(path))


def sound_key(text: bytes, where: str) -> bytes:
    """The key that `text` holds, without the space around it: the one way to read a key, for those who write chains and
    those who verify them. Raises StartupFault where it is too short."""
    key = text.strip()
    if len(key) < LEAST_KEY:
        raise StartupFault(f"{where}: the key needs {LEAST_KEY} characters or more; `openssl rand -hex 32` makes one")
    return key


def open_place(folder: Path) -> str:
    """Makes the folder if need be; its name, which stays. Raises StartupFault."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return once_written(folder / PLACE_FILE).decode()[:PLACE_CHARACTERS]
    except (OSError, UnicodeDecodeError) as fault:
        raise StartupFault(f"audit entries cannot be kept in {folder} ({fault}); set GATEWAY_AUDIT_DIR") from None


def place_of(folder: Path) -> str | None:
    """The name of the folder; None where it has none. Raises OSError."""
    try:
        return (folder / PLACE_FILE).read_text("ascii", "replace")[:PLACE_CHARACTERS]
    except FileNotFoundError:
        return None
