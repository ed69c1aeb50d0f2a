"""The part of values.schema.json that is about GATEWAY_* variables, made of `Settings`.

    python -m tests.helm.settings_schema

writes it anew; the suite compares. Secrets are told apart by their type, so a new one can only be given by reference.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from gateway.settings import Settings

CHART: Final = Path(__file__).resolve().parents[2] / "helm" / "gateway"
SCHEMA: Final = CHART / "values.schema.json"
OWNED: Final = frozenset({"host", "port", "admin_port", "policies", "data_dir", "audit_dir", "grace_seconds"})
"""What the chart itself says, because ports, mounts and probes hang on it."""
BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "pattern", "enum")


def is_secret(name: str) -> bool:
    return "SecretStr" in str(Settings.model_fields[name].annotation) or (
        Settings.model_fields[name].annotation is SecretStr
    )


def variable(name: str) -> str:
    return f"GATEWAY_{name.upper()}"


def secret_variables() -> list[str]:
    return sorted(variable(name) for name in Settings.model_fields if is_secret(name))


def settings() -> dict[str, Any]:
    """The schema of `settings`: every variable that is neither a secret nor the chart's own, with its bounds."""
    shapes = Settings.model_json_schema()["properties"]
    names = sorted(name for name in Settings.model_fields if not is_secret(name) and name not in OWNED)
    return {
        "type": "object",
        "description": "GATEWAY_* variables of docs/settings.md that are no secret.",
        "additionalProperties": False,
        "properties": {variable(name): _shape(shapes[name]) for name in names},
    }


def secrets() -> dict[str, Any]:
    """The schema of `secrets`: GATEWAY_* variables that are secrets, and any other name."""
    reference = {"$ref": "#/$defs/secret"}
    return {
        "type": "object",
        "description": "Variable -> where a Secret holds it.",
        "additionalProperties": False,
        "properties": dict.fromkeys(secret_variables(), reference),
        "patternProperties": {_beginning_otherwise("GATEWAY_"): reference},
    }


def _beginning_otherwise(prefix: str) -> str:
    """A pattern of names that do not begin with `prefix`: the engine's regular expressions cannot look ahead.

    Such a name leaves the prefix at some letter of it: it ends there, or has another one.
    """
    ways = [f"{prefix[:at]}([^{letter}].*)?" for at, letter in enumerate(prefix)]
    return f"^({'|'.join(ways)})$"


def _shape(shape: dict[str, Any]) -> dict[str, Any]:
    given = next((one for one in shape.get("anyOf", ()) if one["type"] != "null"), shape)
    made = {"description": shape["description"], "type": given["type"]}
    made |= {bound: given[bound] for bound in BOUNDS if bound in given}
    if given["type"] == "string":
        made["not"] = {"pattern": "://[^/\\s]*@"}
    return made


def written(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with both parts as they should be."""
    properties = schema["properties"] | {"settings": settings(), "secrets": secrets()}
    return schema | {"properties": properties}


def main() -> int:
    SCHEMA.write_text(json.dumps(written(json.loads(SCHEMA.read_text())), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
