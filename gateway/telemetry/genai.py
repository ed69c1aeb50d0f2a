"""Metrics by OpenTelemetry's GenAI conventions, under the names of v1.41.0 that libraries emit, the newest, or both.

The conventions moved to open-telemetry/semantic-conventions-genai and are still in development: what they call a thing
is a setting, what is measured is not. Prometheus sees the names as its exporter of OpenTelemetry writes them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from gateway.instruments import Counter, Histogram, Instrument
from gateway.telemetry.declared import DURATION_BUCKETS

Conventions = Literal["old", "new", "both"]
TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))
FIRST_TOKEN_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
EACH_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
"""All as the conventions say."""
WHO = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model")
ERROR, TOKEN_TYPE = "error.type", "gen_ai.token.type"
OPERATIONS = {
    "chat/completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "messages/count_tokens": "count_tokens",
}
"""Endpoint -> the conventions' word; any other makes or hears media: GENERATE."""
GENERATE = "generate_content"
PROVIDERS = {
    "ark": "bytedance",
    "azure": "azure.ai.openai",
    "dashscope": "alibaba",
    "gemini": "gcp.gemini",
    "gmi": "gmi_cloud",
    "vertex": "gcp.vertex_ai",
}
"""Dialect of a bought API -> the conventions' word; any other is its own."""
OWN_WORKERS = "self_hosted"
"""Workers of ours whose engine nobody knows."""

Who = tuple[str, str, str, str]
"""Operation, provider, model asked for, model that answered: names of the policy's."""


class Spent(NamedTuple):
    """Of one attempt. `first`: seconds to the first token of a stream; `error`: empty where there was none."""

    seconds: float
    error: str = ""
    first: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class GenAi:
    """`attempt` is the client's side, towards an upstream; `request` the server's, towards our caller."""

    def __init__(self, conventions: Conventions) -> None:
        self.instruments: list[Instrument] = []
        self._names: dict[str, tuple[str, str]] = {}
        old, new = conventions != "new", conventions != "old"
        self.with_older = old
        """Whether spans show the provider under its older name too."""
        ended = (*WHO, ERROR)
        seconds = [name for name, on in (("operation", old), ("inference", new)) if on]
        self._durations = [
            self._histogram(f"gen_ai.client.{name}.duration", "s", DURATION_BUCKETS, ended) for name in seconds
        ]
        self._firsts = [
            self._histogram(f"gen_ai.client.{name}.time_to_first_chunk", "s", DURATION_BUCKETS, WHO) for name in seconds
        ]
        self._usage = (
            self._histogram("gen_ai.client.token.usage", "{token}", TOKEN_BUCKETS, (TOKEN_TYPE, *WHO)) if old else None
        )
        self._totals = (
            [
                self._counter(f"gen_ai.client.inference.usage.{name}", "{token}", WHO)
                for name in ("input_tokens", "output_tokens", "cache_read.input_tokens")
            ]
            if new
            else []
        )
        self._each = (
            [
                self._histogram(f"gen_ai.client.inference.operation.{name}", "{token}", TOKEN_BUCKETS, WHO)
                for name in ("input_tokens", "output_tokens")
            ]
            if new
            else []
        )
        self._served = self._histogram("gen_ai.server.request.duration", "s", DURATION_BUCKETS, ended)
        self._first = self._histogram("gen_ai.server.time_to_first_token", "s", FIRST_TOKEN_BUCKETS, WHO)
        self._pace = self._histogram("gen_ai.server.time_per_output_token", "s", EACH_TOKEN_BUCKETS, WHO)

    def attempt(self, who: Who, spent: Spent) -> None:
        for duration in self._durations:
            duration.observe(spent.seconds, *who, spent.error)
        if spent.first is not None:
            for first in self._firsts:
                first.observe(spent.first, *who)
        read, written = spent.input_tokens, spent.output_tokens
        if not read + written:
            return
        if self._usage is not None:
            self._usage.observe(read, "input", *who)
            self._usage.observe(written, "output", *who)
        for total, tokens in zip(self._totals, (read, written, spent.cached_tokens), strict=False):
            total.inc(*who, by=tokens)
        for histogram, tokens in zip(self._each, (read, written), strict=False):
            histogram.observe(tokens, *who)

    def request(self, who: Who, seconds: float, error: str, first: float | None, each: float | None) -> None:
        """`first`: seconds to the first token of a stream, `each` of every later one, where they are known."""
        self._served.observe(seconds, *who, error)
        if first is not None:
            self._first.observe(first, *who)
        if each is not None:
            self._pace.observe(each, *who)

    def of(self, family: str) -> tuple[str, str] | None:
        """The conventions' own name and unit of what Prometheus calls `family`; None: it is none of theirs."""
        return self._names.get(family)

    def _histogram(self, name: str, unit: str, buckets: tuple[float, ...], labels: tuple[str, ...]) -> Histogram:
        made = Histogram(self._named(name, unit), TEXTS[name], buckets, plain(labels))
        self.instruments.append(made)
        return made

    def _counter(self, name: str, unit: str, labels: tuple[str, ...]) -> Counter:
        made = Counter(self._named(name, unit), TEXTS[name], plain(labels))
        self.instruments.append(made)
        return made

    def _named(self, name: str, unit: str) -> str:
        family = name.replace(".", "_") + ("_seconds" if unit == "s" else "")
        self._names[family] = (name, unit)
        return family


def plain(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(label.replace(".", "_") for label in labels)


ATTRIBUTES = dict(zip(plain((*WHO, ERROR, TOKEN_TYPE)), (*WHO, ERROR, TOKEN_TYPE), strict=True))
"""Prometheus' labels -> the conventions' attributes."""
TEXTS = {
    "gen_ai.client.operation.duration": "How long an attempt on an upstream took.",
    "gen_ai.client.inference.duration": "How long an attempt on an upstream took.",
    "gen_ai.client.operation.time_to_first_chunk": "From an attempt's beginning to its first token, of streams.",
    "gen_ai.client.inference.time_to_first_chunk": "From an attempt's beginning to its first token, of streams.",
    "gen_ai.client.token.usage": "Tokens of an attempt.",
    "gen_ai.client.inference.usage.input_tokens": "Input tokens of attempts, cached ones among them.",
    "gen_ai.client.inference.usage.output_tokens": "Output tokens of attempts.",
    "gen_ai.client.inference.usage.cache_read.input_tokens": "Input tokens that were read from a cache.",
    "gen_ai.client.inference.operation.input_tokens": "Input tokens of an attempt.",
    "gen_ai.client.inference.operation.output_tokens": "Output tokens of an attempt.",
    "gen_ai.server.request.duration": "Arrival of a request to the last byte of its answer.",
    "gen_ai.server.time_to_first_token": "Arrival to the first byte, of streams.",
    "gen_ai.server.time_per_output_token": "Time of each output token after the first, of streams.",
}


def operation(endpoint: str) -> str:
    return OPERATIONS.get(endpoint, GENERATE)
