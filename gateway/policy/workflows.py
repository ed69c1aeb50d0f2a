"""The workflow templates that models.yaml names: files of the folder, read as the policy is compiled.

Like the files of `tls` they are not part of its version, but watched with it, and used as they were then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.model import BadWorkflow, Workflow, read_workflow
from gateway.policy.schema import ModelIn
from gateway.policy.source import Document, Fault, parse
from gateway.policy.tls import LONGEST_FILE, Digests, digest

KEY = "workflow"


def digests(root: Path, models: bytes | None) -> Digests:
    """Every file that a `workflow` in models.yaml names, however wrong the rest of it is."""
    if models is None or KEY.encode() not in models:
        return {}
    return {name: digest(root / name) for name in _named(parse("models.yaml", models).data) if _inside(name)}


def _named(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        name = part.get(KEY)
        if isinstance(name, str) and name:
            yield name
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for each in inner:
        yield from _named(each)


def workflows(
    models: Mapping[int, ModelIn], document: Document, root: Path, faults: list[Fault]
) -> Mapping[str, Workflow]:
    """File as it is named -> its template; those that are no good are added to `faults`."""
    made: dict[str, Workflow] = {}
    for index, model in models.items():
        for j, served in enumerate(model.served_by):
            if served.workflow is None:
                continue
            try:
                made[served.workflow] = _read(root, served.workflow)
            except BadWorkflow as bad:
                at = ("models", index, "served_by", j, KEY)
                faults.append(document.fault(at, str(bad)))
    return made


def _read(root: Path, name: str) -> Workflow:
    """Raises BadWorkflow."""
    if not _inside(name):
        raise BadWorkflow("must lie in the policy folder: a relative path without `..`")
    try:
        held = _held(root / name)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        raise BadWorkflow("cannot be read; check its permissions") from None
    if held is None:
        raise BadWorkflow("is missing; the path is relative to the policy folder")
    if len(held) > LONGEST_FILE:
        raise BadWorkflow(f"is longer than {LONGEST_FILE} bytes")
    return read_workflow(held)


def _held(path: Path) -> bytes | None:
    """None where there is no file; a named pipe would block."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(LONGEST_FILE + 1)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
