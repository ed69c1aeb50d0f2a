"""What a metrics fault makes of a true page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from .exchange import Header
from .faults import MetricsFault
from .padding import filler
from .surfaces.surface import Reply

BIG_BYTES = 10_000_000
HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"
LIES: Mapping[str, Callable[[float], str]] = {
    "negative": lambda value: repr(-abs(value) - 1.0),
    "nan": lambda value: "NaN",
    "absurd": lambda value: "1e+300",
}
JSON_LIES: Mapping[str, float | None] = {"negative": -1.0, "nan": None, "absurd": 1e300}
"""JSON has no NaN."""


def spoil(true: Reply, fault: MetricsFault) -> tuple[Reply, list[Header]]:
    """The page that is shown, and headers."""
    match fault.show:
        case "html":
            return Reply(HTML, content_type=b"text/html"), []
        case "redirect":
            return Reply(status=307), [(b"location", fault.location.encode())]
        case "empty":
            return Reply(content_type=true.content_type), []
        case "error":
            return Reply({"error": "Injected fault"}, 500), []
    if isinstance(true.body, bytes):
        return Reply(_text(true.body, fault), content_type=true.content_type), []
    return Reply(_json(true.body, fault)), []


def _text(page: bytes, fault: MetricsFault) -> bytes:
    lie = LIES.get(fault.show)
    lines, gauge = [], False
    for line in page.decode().splitlines():
        if line.startswith("# TYPE "):
            gauge = line.endswith(" gauge")
        shown = _renamed(line, fault)
        if shown is not None and lie is not None and gauge and not shown.startswith("#"):
            series, _, value = shown.rpartition(" ")
            shown = f"{series} {lie(float(value))}"
        if shown is not None:
            lines.append(shown)
    made = ("\n".join(lines) + "\n").encode()
    return filler(BIG_BYTES) + made if fault.show == "big" else made


def _renamed(line: str, fault: MetricsFault) -> str | None:
    """The line under its new name; None for one that is removed."""
    head, name = (line[:7], line[7:]) if line.startswith(("# HELP ", "# TYPE ")) else ("", line)
    if any(name.startswith(gone) for gone in fault.remove):
        return None
    for old, new in fault.rename.items():
        if name.startswith(old):
            return head + new + name.removeprefix(old)
    return line


def _json(value: object, fault: MetricsFault) -> object:
    """Keys are renamed and removed, numbers lie; `big` makes a long list."""
    if isinstance(value, list):
        made = [_json(each, fault) for each in value]
        return made * (BIG_BYTES // max(1, len(msgspec.json.encode(made)))) if fault.show == "big" and made else made
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if not any(key.startswith(gone) for gone in fault.remove)}
        return {fault.rename.get(key, key): _json(each, fault) for key, each in kept.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return JSON_LIES.get(fault.show, value)
    return value
