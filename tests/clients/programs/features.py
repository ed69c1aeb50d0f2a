"""What every program of this folder is: features by name, each tried once, one JSON line of each on stdout.

A program runs in an environment of its client's, where nothing of this project is: it has this file beside it, and
three variables. A feature passes by returning; what it returns is a remark for the table.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

URL = os.environ["GATEWAY_URL"]
KEY = os.environ["GATEWAY_KEY"]
V1 = f"{URL}/v1"
PAGE = Path(__file__).parents[3] / "docs" / "clients.md"
SHOWN_URL, SHOWN_KEY = "http://127.0.0.1:8080", "my-key"
"""As the page has them."""
HELLO = [{"role": "user", "content": "hello"}]
LOCAL = {"X-Data-Residency": "local"}
NOWHERE = {"X-Data-Residency": "atlantis"}
"""A zone that the gateway does not know: a client that sends the header is refused, one that drops it is served."""
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}
ARGUMENTS = {"city": "sim", "days": 1}
"""What the simulated fleet calls a tool of these parameters with."""
CLAUDE = "claude-sonnet-4-5-20250929"
MODELS = {"chat", CLAUDE, "full", "busy", "down", "pic"}

Feature = Callable[[], str | None]


LEAST_TOLD = 1.0
"""Seconds. The door hears its own Retry-After, the client another one, which may be shorter; no client waits so long
for its first retry unless it is told to."""


@contextmanager
def full_house() -> Iterator[None]:
    """Model `busy` turns the next request away; the block must last as long as any Retry-After says."""
    asked = urllib.request.Request(os.environ["DOOR_URL"], method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(asked, timeout=20.0) as answer:
        told = json.load(answer)["retry_after"]
    began = time.monotonic()
    yield
    lasted = time.monotonic() - began
    assert lasted >= min(told, LEAST_TOLD), f"tried again after {lasted:.2f} s, told to wait {told} s"


@contextmanager
def raises(kind: type[Exception], status: int | None, *words: str) -> Iterator[None]:
    """The client's own exception, with this status (None: it has none), and these words in its text, code or body."""
    try:
        yield
    except kind as error:
        got = getattr(error, "status_code", None)
        assert status is None or got == status, f"status {got}, not {status}"
        told = " ".join([str(error), *(str(getattr(error, name, "")) for name in ("code", "body"))])
        missing = [word for word in words if word not in told]
        assert not missing, f"{missing} not in: {told}"
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


def lines_of(heading: str, kind: str = "python") -> str:
    """What docs/clients.md has below this heading, with this gateway's address and key."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(rf"```{kind}\n(.*?)```", section, re.S)
    return block.replace(SHOWN_URL, URL).replace(SHOWN_KEY, KEY)


def page(heading: str) -> Feature:
    """Those lines, run: they print an answer."""

    def attempt() -> None:
        out = StringIO()
        with redirect_stdout(out):
            exec(compile(lines_of(heading), f"{PAGE.name}, {heading}", "exec"), {"__name__": "page"})
        assert out.getvalue().strip()

    return attempt


def run(features: Mapping[str, Feature]) -> None:
    """Exit code 0 also where features fail: the lines tell."""
    for name, feature in features.items():
        try:
            said, passed = feature() or "", True
        except Exception as error:  # the table shows whatever it was
            said, passed = f"{type(error).__name__}: {error}", False
        print(json.dumps({"feature": name, "passed": passed, "said": said[:400]}), flush=True)
    sys.exit(0)
