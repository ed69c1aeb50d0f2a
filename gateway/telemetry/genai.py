"""Metrics by OpenTelemetry's GenAI conventions, under the names of v1.41.0 that libraries emit, the newest, or both.

The conventions moved to open-telemetry/semantic-conventions-genai and are still in development: what they call a thing
is a setting, what is measured is not. Prometheus sees the names as its exporter of OpenTelemetry writes them.
"""

from __future__ import annotations

from typing import Literal

from gateway.instruments import Counter, Histogram, Instrument, Observe
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

SECONDS, TOKEN = "s", "{token}"
TOTALS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cached": "cache_read.input_tokens",
    "kept": "cache_write.input_tokens",
    "reasoning": "reasoning.output_tokens",
}
Who = tuple[str, str, str, str]
"""Operation, provider, model asked for, model that answered: names of the policy's."""


class GenAi:
    """The instruments. `series` gives those of one `Who`, found once."""

    def __init__(self, conventions: Conventions) -> None:
        self.instruments: list[Instrument] = []
        self._names: dict[str, tuple[str, str]] = {}
        self._series: dict[tuple[str, str, str, str], Series] = {}
        self.conventions: Conventions = conventions
        """Which names spans have."""
        ended = (*WHO, ERROR)
        self.asked: list[Histogram] = []
        self.first_chunk: list[Histogram] = []
        self.usage: Histogram | None = None
        self.tokens: dict[str, list[Histogram | Counter]] = {kind: [] for kind in TOTALS}
        if conventions != "new":
            self._inference("operation")
            self.usage = self._histogram("gen_ai.client.token.usage", TOKEN, TOKEN_BUCKETS, (TOKEN_TYPE, *WHO))
        if conventions != "old":
            self._inference("inference")
            for kind, name in (("input", "input_tokens"), ("output", "output_tokens")):
                operation = f"gen_ai.client.inference.operation.{name}"
                self.tokens[kind].append(self._histogram(operation, TOKEN, TOKEN_BUCKETS, WHO))
            for kind, name in TOTALS.items():
                self.tokens[kind].append(self._counter(f"gen_ai.client.inference.usage.{name}", TOKEN, WHO))
        self.served = self._histogram("gen_ai.server.request.duration", SECONDS, DURATION_BUCKETS, ended)
        self.first_token = self._histogram("gen_ai.server.time_to_first_token", SECONDS, FIRST_TOKEN_BUCKETS, WHO)
        self.each_token = self._histogram("gen_ai.server.time_per_output_token", SECONDS, EACH_TOKEN_BUCKETS, WHO)

    def _inference(self, name: str) -> None:
        duration, first = f"gen_ai.client.{name}.duration", f"gen_ai.client.{name}.time_to_first_chunk"
        self.asked.append(self._histogram(duration, SECONDS, DURATION_BUCKETS, (*WHO, ERROR)))
        self.first_chunk.append(self._histogram(first, SECONDS, DURATION_BUCKETS, WHO))

    def series(self, endpoint: str, provider: str, model: str, served: str) -> Series:
        """`provider` and `served` are empty where nobody was asked. All four come from the policy, and so are few."""
        key = (endpoint, provider, model, served)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = Series(self, (operation(endpoint), provider, model, served))
        return found

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
        family = name.replace(".", "_") + ("_seconds" if unit == SECONDS else "")
        self._names[family] = (name, unit)
        return family


class Series:
    """One `Who`: `attempt` is the client's side, towards an upstream; `request` the server's, towards our caller.
    Rows are there once they are used."""

    __slots__ = ("_genai", "_rows", "who")

    def __init__(self, genai: GenAi, who: Who) -> None:
        self._genai, self.who = genai, who
        self._rows: dict[tuple[str, str], tuple[Observe, ...]] = {}

    def attempt(self, seconds: float, error: str, first: float | None) -> None:
        """`first`: seconds to the first token of a stream; `error`: empty where there was none."""
        for observe in self._rows.get(("asked", error)) or self._find("asked", error):
            observe(seconds)
        if first is not None:
            for observe in self._rows.get(_FIRST_CHUNK) or self._find(*_FIRST_CHUNK):
                observe(first)

    def used(self, read: int, written: int, cached: int = 0, kept: int = 0, reasoning: int = 0) -> None:
        """Tokens of an attempt. Among those that were `read` are what came from a cache and what went into one, among
        those `written` what it reasoned."""
        if not read + written:
            return
        for observe in self._rows.get(_INPUT) or self._find(*_INPUT):
            observe(read)
        for observe in self._rows.get(_OUTPUT) or self._find(*_OUTPUT):
            observe(written)
        if cached:
            for observe in self._rows.get(_CACHED) or self._find(*_CACHED):
                observe(cached)
        if kept:
            for observe in self._rows.get(_KEPT) or self._find(*_KEPT):
                observe(kept)
        if reasoning:
            for observe in self._rows.get(_REASONING) or self._find(*_REASONING):
                observe(reasoning)

    def request(self, seconds: float, error: str, first: float | None, each: float | None) -> None:
        """`first`: seconds to the first token of a stream, `each` of every later one, where they are known."""
        for observe in self._rows.get(("served", error)) or self._find("served", error):
            observe(seconds)
        if first is not None:
            for observe in self._rows.get(_FIRST_TOKEN) or self._find(*_FIRST_TOKEN):
                observe(first)
        if each is not None:
            for observe in self._rows.get(_EACH_TOKEN) or self._find(*_EACH_TOKEN):
                observe(each)

    def _find(self, kind: str, error: str) -> tuple[Observe, ...]:
        genai, who = self._genai, self.who
        if kind in ("asked", "served"):
            ended = genai.asked if kind == "asked" else [genai.served]
            found = [one.bound(*who, error) for one in ended]
        elif kind in genai.tokens:
            found = [one.bound(*who) for one in genai.tokens[kind]]
            if genai.usage is not None and kind in ("input", "output"):
                found.append(genai.usage.bound(kind, *who))
        else:
            of = {"first_chunk": genai.first_chunk, "first_token": [genai.first_token], "each": [genai.each_token]}
            found = [one.bound(*who) for one in of[kind]]
        self._rows[kind, error] = made = tuple(found)
        return made


_FIRST_CHUNK, _FIRST_TOKEN, _EACH_TOKEN = ("first_chunk", ""), ("first_token", ""), ("each", "")
_INPUT, _OUTPUT, _CACHED, _KEPT, _REASONING = [(kind, "") for kind in TOTALS]


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
    "gen_ai.client.inference.usage.cache_write.input_tokens": "Input tokens that were written into a cache.",
    "gen_ai.client.inference.usage.reasoning.output_tokens": "Output tokens of reasoning.",
    "gen_ai.client.inference.operation.input_tokens": "Input tokens of an attempt.",
    "gen_ai.client.inference.operation.output_tokens": "Output tokens of an attempt.",
    "gen_ai.server.request.duration": "Arrival of a request to the last byte of its answer.",
    "gen_ai.server.time_to_first_token": "Arrival to the first byte, of streams.",
    "gen_ai.server.time_per_output_token": "Time of each output token after the first, of streams.",
}


def operation(endpoint: str) -> str:
    return OPERATIONS.get(endpoint, GENERATE)
