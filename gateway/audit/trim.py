"""Removing what is old, so that it can be told from tampering: a signed checkpoint first, then the lines."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gateway.audit.chain import Chain
from gateway.audit.journal import now
from gateway.audit.lines import Line, fields_of, parts_in, read_line
from gateway.audit.verify import verify

TRIMS = "trims"


class Unsound(Exception):
    """The folder has findings: what was tampered with must not be trimmed away. `findings` are ready to print."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


class Cut(NamedTuple):
    """What goes of one chain: all lines up to and including `last`; `whole` parts go, of `split` the first lines."""

    chain: str
    last: Line
    whole: list[Path]
    split: tuple[Path, int] | None
    """A file, and how many of its bytes go."""


def trim(folder: Path, key: bytes, before: float) -> dict[str, int]:
    """Removes every line from before that moment (epoch seconds) that nothing newer of its chain comes before.

    The part that a living process writes is left as it is. Gives chain -> the number of the last line removed. Raises
    Unsound, or OSError; what is then half done is finished by the next trim.
    """
    with _alone(folder):
        report = verify(folder, key)
        if report.findings:
            raise Unsound(report.findings)
        cuts = [cut for name in parts_in(folder) if name != TRIMS and (cut := _cut(folder, key, name, before))]
        if not cuts:
            return {}
        trims = Chain.resume(key, folder, TRIMS)
        for cut in cuts:
            fields = fields_of(at=now(), before=before, trimmed=cut.chain, upto=cut.last.n, head=cut.last.mac)
            trims.append(fields)
        trims.sync()
        trims.close()
        for cut in cuts:
            _remove(cut)
        return {cut.chain: cut.last.n for cut in cuts}


def _cut(folder: Path, key: bytes, chain: str, before: float) -> Cut | None:
    last: Line | None = None
    whole: list[Path] = []
    for _, path in parts_in(folder)[chain]:
        if _written_now(path):
            break
        size = 0
        raws = [raw for raw in path.read_bytes().splitlines(keepends=True) if raw.endswith(b"\n")]
        for raw in raws:
            line = read_line(key, raw)
            if line.at >= before:
                return None if last is None else Cut(chain, last, whole, (path, size) if size else None)
            last, size = line, size + len(raw)
        whole.append(path)
    return None if last is None else Cut(chain, last, whole, None)


def _remove(cut: Cut) -> None:
    for path in cut.whole:
        path.unlink()
    if cut.split is not None:
        path, size = cut.split
        rest = path.with_name(f".{path.name}")
        with rest.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(path.read_bytes()[size:])
            file.flush()
            os.fsync(file.fileno())
        rest.replace(path)


def _written_now(path: Path) -> bool:
    """Whether a living process holds the file open to append to it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One trim at a time."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
