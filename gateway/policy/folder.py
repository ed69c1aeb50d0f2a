"""A policy folder on disk: the bytes of its files, read once, and the version that they make."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.policy import tls, workflows
from gateway.policy.schema import FILES, REQUIRED
from gateway.policy.source import MAX_BYTES, START, Document, Fault, parse
from gateway.policy.tls import Digests
from gateway.policy.validate import nearest

SUFFIXES = frozenset({".yaml", ".yml"})
BACKENDS, MODELS, CASES = "backends.yaml", "models.yaml", "cases"
_VERSION_DIGITS = 12
_NS = 1e9


@dataclass(frozen=True, slots=True)
class Folder:
    """The YAML files of a folder by relative name; None where one could not be read. Cases are not part of it."""

    root: Path
    files: Mapping[str, bytes | None]
    digests: Digests = field(default_factory=dict)
    """Of the files that `tls` and `workflow` name; they are not part of the version."""

    @property
    def beside(self) -> tuple[Path, ...]:
        """Files that matter although they are not YAML."""
        return tuple(self.root / name for name in self.digests)

    @property
    def version(self) -> str:
        """The first 12 hex digits of a SHA-256 over names and contents."""
        digest = hashlib.sha256()
        for name, raw in sorted(self.files.items()):
            content = b"" if raw is None else raw
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:_VERSION_DIGITS]

    def documents(self) -> dict[str, Document]:
        """Each file that the language knows, parsed; missing and unknown files are faults of their documents."""
        parsed = {name: _parsed(self.root, name, raw) for name, raw in sorted(self.files.items())}
        for name in REQUIRED:
            if name not in parsed:
                parsed[name] = Document(
                    name, faults=[Fault(name, START, "(file)", "is missing; every folder needs it")]
                )
        return parsed


@dataclass(frozen=True, slots=True)
class Stamp:
    """Path, inode, size, and times of change (ns) of each file: enough to tell that nothing has changed."""

    files: tuple[tuple[str, int, int, int, int], ...]

    def younger_than(self, now: float, seconds: float) -> bool:
        """Whether some file was changed less than `seconds` before `now`, or later than it."""
        return any(changed / _NS > now - seconds for *_, changed in self.files)


def read_folder(root: Path) -> Folder:
    """All YAML files directly in `root`. Never raises: a folder that is not there has no files."""
    files = read_files(root, root)
    return with_digests(root, files)


def with_digests(root: Path, files: Mapping[str, bytes | None]) -> Folder:
    """The folder with what its YAML names beside itself."""
    named = tls.digests(root, files.get(BACKENDS)), workflows.digests(root, files.get(MODELS))
    return Folder(root, files, {name: digest for each in named for name, digest in each.items()})


def read_files(root: Path, where: Path) -> dict[str, bytes | None]:
    """The YAML files directly in `where`, by their names relative to `root`; of each, no more than can be accepted."""
    return {path.relative_to(root).as_posix(): _read(path) for path in _yaml_files(where)}


def stamp(root: Path, beside: Iterable[Path] = ()) -> Stamp:
    """What `stat` says of all YAML files directly in `root` and of those `beside`, following links. Never raises."""
    entries = []
    for path in (*_yaml_files(root), *beside):
        try:
            seen = path.stat()
            entries.append((str(path), seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
        except (OSError, ValueError):  # gone since it was listed: the next stamp will differ
            entries.append((str(path), 0, 0, 0, 0))
    return Stamp(tuple(entries))


def _yaml_files(where: Path) -> list[Path]:
    try:
        return sorted(path for path in where.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    except OSError:
        return []


def _read(path: Path) -> bytes | None:
    try:
        if not path.is_file():  # a named pipe would block
            return None
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError:
        return None


def unreadable(root: Path, name: str) -> Document:
    """The document of a file that could not be read, with what stands in its way."""
    return Document(name, faults=[Fault(name, START, "(file)", _obstacle(root / name))])


def _obstacle(path: Path) -> str:
    try:
        path.stat()
    except FileNotFoundError:
        return "is a link that leads nowhere" if path.is_symlink() else "went away while it was read"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads back to itself"
        return "cannot be read; check its permissions"
    if path.is_dir():
        return "is a folder; it must be a file"
    return "cannot be read; check its permissions" if path.is_file() else "is a pipe or a device; it must be a file"


def _parsed(root: Path, name: str, raw: bytes | None) -> Document:
    if name not in FILES:
        said = f"is not a file of the policy language; {nearest(name, list(FILES))}"
        return Document(name, faults=[Fault(name, START, "(file)", said)])
    if raw is None:
        return unreadable(root, name)
    return parse(name, raw)
