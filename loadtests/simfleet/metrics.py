"""What a worker counts: vLLM's histograms (names and buckets as vLLM 0.32 has them), counters and gauges."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from .engine import Sequence, Step

FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")

TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
ITERATION_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
)
PER_TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
REQUEST_S = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
PREEMPTIONS = (1, 2, 3, 4, 5, 10, 20)
PARAM_N = (1, 2, 5, 10, 20)

HISTOGRAMS: tuple[tuple[str, str, tuple[float, ...]], ...] = (
    ("request_prompt_tokens", "Number of prefill tokens processed.", TOKENS),
    ("request_generation_tokens", "Number of generation tokens processed.", TOKENS),
    ("iteration_tokens_total", "Histogram of number of tokens per engine_step.", ITERATION_TOKENS),
    ("request_params_n", "Histogram of the n request parameter.", PARAM_N),
    ("request_params_max_tokens", "Histogram of the max_tokens request parameter.", TOKENS),
    ("time_to_first_token_seconds", "Histogram of time to first token in seconds.", FIRST_TOKEN_S),
    ("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", PER_TOKEN_S),
    (
        "request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        PER_TOKEN_S,
    ),
    ("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", REQUEST_S),
    ("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", REQUEST_S),
    ("request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.", REQUEST_S),
    ("request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", REQUEST_S),
    ("request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", REQUEST_S),
    ("request_num_preemptions", "Histogram of the number of times a request was preempted.", PREEMPTIONS),
)


class Histogram:
    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(frozen=True, slots=True)
class Load:
    """The engine's load gauges at one instant."""

    running: int = 0
    waiting: int = 0
    kv: float = 0.0


@dataclass(slots=True)
class Lagged:
    """Load gauges that become visible `lag` seconds after they were true."""

    lag: float
    _history: deque[tuple[float, Load]] = field(default_factory=lambda: deque([(float("-inf"), Load())]))

    def push(self, now: float, load: Load) -> None:
        self._history.append((now, load))
        self._forget(now)

    def read(self, now: float) -> Load:
        """What a scrape at `now` sees: the newest value that is at least `lag` old."""
        self._forget(now)
        return self._history[0][1]

    def _forget(self, now: float) -> None:
        while len(self._history) > 1 and self._history[1][0] <= now - self.lag:
            self._history.popleft()


class Stats:
    """The counters of one worker process; a revived worker starts with new ones."""

    def __init__(self) -> None:
        self.histograms = {name: Histogram(bounds) for name, _, bounds in HISTOGRAMS}
        self.success = dict.fromkeys(FINISHED_REASONS, 0)
        self.prompt_tokens = 0
        self.generation_tokens = 0

    def step(self, step: Step) -> None:
        self.histograms["iteration_tokens_total"].observe(step.decoding + step.prefill_tokens)

    def token(self, sequence: Sequence, now: float) -> None:
        """The sequence got its newest token at `now`."""
        self.generation_tokens += 1
        if sequence.token_gap is None:
            self.prompt_tokens += sequence.prompt_tokens
            self.histograms["time_to_first_token_seconds"].observe(now - sequence.arrival)
        else:
            self.histograms["inter_token_latency_seconds"].observe(sequence.token_gap)

    def asked(self, n: int, max_tokens: int) -> None:
        """A request was taken in."""
        self.histograms["request_params_n"].observe(n)
        self.histograms["request_params_max_tokens"].observe(max_tokens)

    def ended(self, sequence: Sequence, reason: str) -> None:
        self.success[reason] += 1
        first, last, scheduled = sequence.first_token_at, sequence.last_token_at, sequence.scheduled_at
        if reason == "abort" or first is None or last is None or scheduled is None:
            return
        seen = self.histograms
        seen["request_prompt_tokens"].observe(sequence.prompt_tokens)
        seen["request_generation_tokens"].observe(sequence.generated)
        seen["e2e_request_latency_seconds"].observe(last - sequence.arrival)
        seen["request_queue_time_seconds"].observe(scheduled - sequence.arrival)
        seen["request_inference_time_seconds"].observe(last - scheduled)
        seen["request_prefill_time_seconds"].observe(first - scheduled)
        seen["request_decode_time_seconds"].observe(last - first)
        seen["request_num_preemptions"].observe(sequence.preemptions)
        if sequence.generated > 1:
            seen["request_time_per_output_token_seconds"].observe((last - first) / (sequence.generated - 1))
