"""What a `when:` condition may speak of: the declared roots, their fields and types, and the operators on them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cel_expr_python import cel

_TEXT, _BOOL, _INT, _DOUBLE = cel.Type.STRING, cel.Type.BOOL, cel.Type.INT, cel.Type.DOUBLE
_TEXTS = cel.Type.List(_TEXT)
HEADERS: Final = cel.Type.Map(_TEXT, _TEXT)
BACKEND: Final = "backend"

FIELDS: Final[Mapping[str, Mapping[str, cel.Type]]] = MappingProxyType(
    {
        "request": {
            "model": _TEXT,
            "endpoint": _TEXT,
            "modality": _TEXT,
            "priority": _TEXT,
            "stream": _BOOL,
            "prompt_tokens": _INT,
            "output_tokens": _INT,
            "prompt_bytes": _INT,
            "n": _INT,
            "max_tokens": _INT,
            "residency": _TEXTS,
            "headers": HEADERS,
            "session": _TEXT,
            "text_only": _BOOL,
            "hour": _INT,
            "minute": _INT,
            "weekday": _INT,
        },
        "tenant": {"name": _TEXT, "tags": _TEXTS, "priority": _TEXT},
        "fleet": {
            "workers": _INT,
            "up": _INT,
            "load": _DOUBLE,
            "queue_depth": _DOUBLE,
            "gpu_util": _DOUBLE,
            "kv_util": _DOUBLE,
            "wait_ms": _DOUBLE,
            "inflight": _INT,
        },
        BACKEND: {
            "kind": _TEXT,
            "up": _INT,
            "workers": _INT,
            "load": _DOUBLE,
            "queue_depth": _DOUBLE,
            "gpu_util": _DOUBLE,
            "kv_util": _DOUBLE,
            "headroom": _DOUBLE,
            "price_usd": _DOUBLE,
        },
    }
)
"""Root -> field -> type; those of `backend` are the fields of each named one. docs/policies.md says what each means."""

FUNCTIONS: Final = frozenset(
    {"all", "exists", "exists_one", "filter", "has", "map"}
    | {"bool", "bytes", "double", "duration", "int", "string", "timestamp", "type", "uint"}
    | {"contains", "endsWith", "matches", "size", "startsWith"}
    | {"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getMonth"}
    | {"getHours", "getMilliseconds", "getMinutes", "getSeconds"}
)
"""The functions and macros of CEL's standard library, for spelling advice."""
MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})

_ORDERS = {"_<_": "less", "_<=_": "less_equals", "_>_": "greater", "_>=_": "greater_equals"}
_EQUALS = {"_==_": "equals", "_!=_": "not_equals"}
_NUMBERS = ("int", "uint", "double")
_ORDERED = ("bool", *_NUMBERS, "string", "bytes", "timestamp", "duration")


def operators() -> str:
    """The environment's standard library, in cel-cpp's own YAML, with comparisons of unlike numbers declared.

    CEL's run time compares them exactly; its checker knows only like with like, which would refuse `fleet.load > 1`
    for want of a `.0`. Kubernetes declares the same. `dyn` goes: it would switch the checker off.
    """
    excluded = [f'    - name: "{name}"' for name in (*_ORDERS, *_EQUALS, "dyn")]
    unlike = [(a, b) for a in _NUMBERS for b in _NUMBERS if a != b]
    lines = ["stdlib:", "  exclude_functions:", *excluded, "functions:"]
    for names, like in ((_ORDERS, _ORDERED), (_EQUALS, ("~A",))):  # `~A`: any type, the same on both sides
        for operator, word in names.items():
            lines += [f'  - name: "{operator}"', "    overloads:"]
            for a, b in (*((kind, kind) for kind in like), *unlike):
                lines.append(
                    f'      - {{id: "{word}_{a}_{b}", args: [{{type: "{a}"}}, {{type: "{b}"}}], return: bool}}'
                )
    return "\n".join(lines) + "\n"
