"""A policy folder from plain data, as a user would write it."""

from __future__ import annotations

import json
from pathlib import Path


def write(folder: Path, **files: object) -> None:
    """One `NAME.yaml` for each of `files`: JSON is YAML too."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content, indent=1))
