"""JSON Schemas of the policy files, for editors: `python -m gateway.policy.jsonschema DIR` writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gateway.policy.case_schema import CasesFile
from gateway.policy.schema import FILES
from gateway.policy.strict import Strict

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, str]:
    """File name -> the text of its schema: `backends.json` for backends.yaml, `cases.json` for cases/*.yaml."""
    shapes: dict[str, type[Strict]] = {**FILES, "cases.yaml": CasesFile}
    made = {}
    for name, shape in shapes.items():
        schema = shape.model_json_schema()
        for part, definition in schema["$defs"].items():
            definition["title"] = part.removesuffix("In")
        made[name.replace(".yaml", ".json")] = (
            json.dumps({"$schema": _DIALECT, **schema, "title": name}, indent=2) + "\n"
        )
    return made


def main(arguments: list[str]) -> int:
    """Writes the schemas into the one folder named; 2 where it is not one."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m gateway.policy.jsonschema DIR", file=sys.stderr)
        return 2
    for name, text in schemas().items():
        Path(arguments[0], name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
