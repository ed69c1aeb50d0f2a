"""The small words of the policy language: names, durations, networks, comparisons, and what to say of a wrong one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_interface, ip_network
from typing import Annotated, Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from gateway.model import Threshold

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MODEL_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"
ZONE_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
GLOB: Final = r"^[A-Za-z0-9._:/*?-]{1,128}$"
KEYED_HASH: Final = r"^[0-9a-f]{64}$"
HOST: Final = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$"
SRV_NAME: Final = r"^_?[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$"
NAMESPACED: Final = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
GPU_UUID: Final = r"^(GPU|MIG)-[A-Za-z0-9/-]{1,96}$"
HEADER: Final = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"
CLOCK: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"
COMPARISON: Final = r"^\s*(>=|<=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*$"
ABSOLUTE: Final = r"^/"
WEBHOOK: Final = r"^https?://[^\s/?#@]+([/?#][^\s]*)?$"
P95: Final = "p95"
DURATION: Final = r"^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)$"

PATTERNS: Final = {
    NAME: "must be a name: letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit",
    MODEL_NAME: "must be a model name: letters, digits and `._:/-`, at most 128, beginning with a letter or digit",
    ZONE_NAME: "must be a zone name: lower-case letters, digits and `-`, at most 63",
    GLOB: "must be a model name in which `*` and `?` stand for anything",
    KEYED_HASH: "must be a keyed hash: 64 lower-case hex digits (HMAC-SHA256 of the key), never the key itself;"
    " `gateway keys hash` makes both",
    HOST: "must be a host name",
    SRV_NAME: "must be the name of SRV records, such as _vllm._tcp.llama.internal",
    NAMESPACED: "must be namespace/name, as Kubernetes writes them, such as ml/vllm-llama",
    GPU_UUID: "must be the UUID of a GPU as nvidia-smi -L prints it, such as GPU-8b1c...",
    HEADER: "must be the name of a header: letters, digits and `-`",
    ABSOLUTE: "must be a path that begins with `/`, such as /v1/chat/completions",
    WEBHOOK: "must be an address such as https://hooks.example.com/money, without user and password",
    CLOCK: 'must be a time of day in quotes, from "00:00" to "24:00"',
}
"""What to say where a pattern does not match."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 86_400.0
_MOST = 1e9


Amount = Annotated[int, Field(ge=1, le=10**12)]
"""Of tokens or requests: what a large customer uses in a day is within it."""


def _seconds(value: Any) -> float:
    """Seconds from "500ms", "20s", "2m", "1h" or a number of seconds."""
    if isinstance(value, str) and (match := re.fullmatch(DURATION, value)):
        value = float(match[1]) * _SECONDS[match[2]]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
        raise ValueError('must be a duration such as "500ms", "20s" or "2m", or a number of seconds, at most a day')
    return float(value)


def _instant(value: Any) -> datetime:
    """Of text alone: a number would be seconds or milliseconds, and nobody can tell which."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError('must be a time with its offset, such as "2030-01-01T00:00:00Z"')
    return moment


def _lateness(value: Any) -> float | str:
    try:
        return P95 if value == P95 else _seconds(value)
    except ValueError as error:
        raise ValueError(str(error).replace("must be a", f"must be `{P95}`, or a", 1)) from None


def _network(text: str) -> str:
    try:
        network, address = ip_network(text, strict=False), ip_interface(text).ip
    except ValueError:
        raise ValueError("must be a network such as 10.20.0.0/16 or fd00::/8") from None
    if address != network.network_address:
        raise ValueError(f"has bits set beyond its prefix; write {network}")
    return text


def threshold(signal: str, comparison: str) -> Threshold:
    """The model's form of `signal: comparison`; `comparison` matches COMPARISON."""
    match = re.fullmatch(COMPARISON, comparison)
    if match is None:
        raise ValueError('must be a comparison with a number, such as "> 8" or ">= 0.95"')
    return Threshold(signal, above=match[1][0] == ">", inclusive="=" in match[1], value=float(match[2]))


def _comparison(value: Any) -> Any:
    threshold("", value if isinstance(value, str) else "")
    return value


def _listed(value: Any) -> Any:
    """One value stands for a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True)
class _OrOne:
    """Shows editors that one value may stand where a list may."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        listed = handler(schema)
        return {"anyOf": [listed, listed["items"]]}


class OrWord:
    """Shows editors the words that may stand for an object."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"enum": list(self.words)}]}


class OrText:
    """Shows editors that a text of this pattern may stand for an object."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": self.pattern}]}


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError("unknown time zone; write an IANA name such as UTC or Europe/Berlin") from None
    return name


def _share(comparison: str) -> str:
    if threshold("", comparison).value > 1:
        raise ValueError('is a share from 0 to 1: write "> 0.95" for 95 %')
    return comparison


_DURATION_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": DURATION}],
    "examples": ["500ms", "20s", "2m"],
}
_COMPARISON_SCHEMA = {"type": "string", "pattern": COMPARISON, "examples": ["> 8", ">= 0.95"]}
Duration = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_DURATION_SCHEMA)]
"""Text such as "500ms", "20s", "2m", "1h", or a number of seconds."""
Instant = Annotated[AwareDatetime, BeforeValidator(_instant)]
"""A moment, in ISO 8601 with its offset."""
Lateness = Annotated[
    Literal["p95"] | float,
    BeforeValidator(_lateness),
    WithJsonSchema({"anyOf": [{"const": P95, "type": "string"}, _DURATION_SCHEMA]}),
]
"""A duration, or `p95`: what was learned."""
Name = Annotated[str, Field(pattern=NAME)]
ModelName = Annotated[str, Field(pattern=MODEL_NAME)]
ZoneName = Annotated[str, Field(pattern=ZONE_NAME)]
Glob = Annotated[str, Field(pattern=GLOB)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Positive = Annotated[float, Field(gt=0, le=_MOST)]
NotNegative = Annotated[float, Field(ge=0, le=_MOST)]
Share = Annotated[float, Field(gt=0, lt=1)]
WholeShare = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T")
Listed = Annotated[tuple[T, ...], BeforeValidator(_listed), _OrOne()]
OneOrMore = Annotated[tuple[T, ...], Field(min_length=1), BeforeValidator(_listed), _OrOne()]
Namespaced = Annotated[str, Field(pattern=NAMESPACED)]
GpuUuid = Annotated[str, Field(pattern=GPU_UUID)]
Port = Annotated[int, Field(ge=1, le=65_535)]
HeaderName = Annotated[str, Field(pattern=HEADER)]
Clock = Annotated[str, Field(pattern=CLOCK)]
Timezone = Annotated[str, AfterValidator(_timezone)]
Names = OneOrMore[Name]
Networks = Listed[Annotated[str, AfterValidator(_network)]]
Comparison = Annotated[str, BeforeValidator(_comparison), WithJsonSchema(_COMPARISON_SCHEMA)]
ShareComparison = Annotated[Comparison, AfterValidator(_share)]
KnownField = Literal[
    "n", "best_of", "service_tier", "speed", "priority", "store", "background", "kv_transfer_params", "cache_salt"
]
"""Body fields that change price, scheduling or retention; the same names as `routing.fields.NEUTRAL`."""
