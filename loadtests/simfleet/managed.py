"""A bought API: OpenAI's shape, a key, its own latency, rate limits as a scenario. Never full, only limited.

A stream sends a few frames a second with several tokens each, as a distant API's chunks arrive; all streams share one
timer wheel, so hundreds of closed-loop clients cost little.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .answer import Answer
from .bills import Bills
from .bodies import GenBody
from .config import ManagedConfig
from .exchange import Exchange, Header
from .faults import Change
from .framing import OPENAI
from .journal import Entry
from .limits import Limits
from .refusal import Refusal
from .service import Service
from .talks import SPOKEN_BY_ALL
from .wheel import Wheel

RATE_SIGMA = 0.1
"""Spread of tokens/s between streams."""
STALL_S = 0.05
"""How often a stream of a hanging API looks whether it may go on."""
MAX_OUTPUT = 16_384
_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "credit_balance_exhausted"),
    404: ("invalid_request_error", "model_not_found"),
    405: ("invalid_request_error", None),
    503: ("service_unavailable_error", "server_is_overloaded"),
}
_ACCOUNT_FAULTS = {
    "invalid_key": (401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "payment_required": (402, "Your credit balance is exhausted.", "insufficient_quota", "credit_balance_exhausted"),
    "insufficient_quota": (429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
}


@dataclass(slots=True)
class _Stream:
    """One answer in progress: frame k is due at `start + k * gap` and completes `rate * (k + 1) / fps` tokens."""

    answer: Answer
    start: float
    gap: float
    tokens_per_frame: float
    rate: float
    """Tokens a second of each choice."""
    first: float
    """When the first token is made."""
    frame: int = 0
    sent: list[int] = field(default_factory=list)


class Managed(Service):
    """One managed API."""

    flavour = OPENAI
    talks = SPOKEN_BY_ALL

    def __init__(self, config: ManagedConfig, seed: int, wheel: Wheel, bills: Bills) -> None:
        super().__init__(config.name, config.model, seed)
        self.config = config
        self.started = time.time()
        self._wheel, self._bills = wheel, bills
        self._streams: dict[Answer, _Stream] = {}
        self._limits = Limits(config.rpm, config.tpm, time.monotonic())
        self._expected = f"Bearer {config.api_key}".encode()

    def apply(self, change: Change) -> None:
        super().apply(change)
        old = self._limits
        rpm = old.requests.limit if old.requests else None
        tpm = old.tokens.limit if old.tokens else None
        if change.clear:
            rpm, tpm = self.config.rpm, self.config.tpm
        rpm = change.rpm if isinstance(change.rpm, int | None) else rpm
        tpm = change.tpm if isinstance(change.tpm, int | None) else tpm
        if change.clear or isinstance(change.rpm, int | None) or isinstance(change.tpm, int | None):
            self._limits = Limits(rpm, tpm, time.monotonic())

    def revive(self) -> None:
        super().revive()
        self.started = time.time()

    def die(self) -> None:
        super().die()
        for answer in list(self._streams):
            self._stopped(answer)
            answer.abort()

    def state(self) -> dict[str, object]:
        return {"running": len(self._streams), "started": self.started}

    async def _probe(self, exchange: Exchange) -> None:
        await exchange.reply(404, self._refuse(404, "Not Found").wrapped())  # no such pages on a bought API

    def _models(self) -> dict[str, object]:
        card = {"id": self.model, "object": "model", "created": int(self.started), "owned_by": "simulated"}
        return {"object": "list", "data": [card]}

    # -- letting in --------------------------------------------------------------------------------------------

    def _refuse(self, status: int, message: str, param: str | None = None) -> Refusal:
        kind, code = _TYPES.get(status, ("server_error", None))
        return Refusal(status, message, kind, code, param=param)

    def _authorize(self, exchange: Exchange) -> None:
        if not hmac.compare_digest(exchange.headers.get(b"authorization", b""), self._expected):
            raise self._refuse(401, "Incorrect API key provided.")
        fault = _ACCOUNT_FAULTS.get(self.faults.account)
        if fault is not None:
            raise Refusal(*fault)

    def _check_model(self, body: GenBody) -> None:
        if body.model is None:
            raise self._refuse(400, "you must provide a model parameter", "model")
        if body.model != self.model:
            raise self._refuse(
                404, f"The model `{body.model}` does not exist or you do not have access to it.", "model"
            )

    def _output_cap(self, body: GenBody, prompt: int) -> int:
        return min(body.limit or MAX_OUTPUT, MAX_OUTPUT)

    def _draw_length(self, key: int) -> float:
        return self.writing.lognormal(key, "length", self.config.output_median, self.config.output_sigma)

    def _answer_id(self, entry: Entry, prefix: str) -> str:
        return f"{prefix}-{self.name}-{entry.seq:08x}"

    def _admit(self, entry: Entry, body: GenBody, output: int) -> list[Header]:
        """OpenAI counts a request as its prompt plus the output it may have at most."""
        entry.cached_tokens = int(entry.prompt_tokens * self.config.cached_share)
        expected = output if body.limit else math.ceil(self.config.output_median)
        wait, unit = self._limits.take(time.monotonic(), entry.prompt_tokens + expected)
        headers = [(b"x-request-id", f"req_{self.name}_{entry.seq:08x}".encode()), *self._limits.headers()]
        if wait == 0:
            return [*headers, (b"openai-organization", b"org-simulated"), (b"openai-version", b"2020-10-01")]
        retry = [(b"retry-after", str(math.ceil(wait)).encode()), (b"retry-after-ms", str(int(wait * 1000)).encode())]
        message = f"Rate limit reached on {unit} per min. Please try again in {math.ceil(wait)}s."
        raise Refusal(429, message, unit, "rate_limit_exceeded", headers=[*headers, *retry])

    # -- generating --------------------------------------------------------------------------------------------

    def _run(self, answer: Answer, entry: Entry, prompts: list[int], cap: int) -> None:
        config, slow = self.config, self.faults.slow
        ttft = slow * self.draws.lognormal(entry.seq, "ttft", config.ttft_median_s, config.ttft_sigma)
        rate = self.draws.lognormal(entry.seq, "rate", config.tokens_per_s, RATE_SIGMA) / slow
        longest = max(script.length for script in answer.scripts)
        now = time.monotonic()
        if answer.streamed:
            gap = 1 / config.frames_per_s
            stream = _Stream(answer, now + ttft, gap, rate * gap, rate, now + ttft, sent=[0] * len(answer.scripts))
        else:  # one frame, when the last token is there
            end = now + ttft + longest / rate
            stream = _Stream(answer, end, 0.0, longest, rate, now + ttft, sent=[0] * len(answer.scripts))
        self._streams[answer] = stream
        self._wheel.at(stream.start, self._ticker(stream))

    def _stopped(self, answer: Answer) -> None:
        self._streams.pop(answer, None)

    def _ended(self, answer: Answer, entry: Entry, outcome: str) -> None:
        """A whole answer that was broken off had been generated in part: that is charged, too."""
        stream, generated = self._streams.get(answer), entry.completion_tokens
        if stream is not None and not answer.streamed and answer.writes:
            made = max(0, int((time.monotonic() - stream.first) * stream.rate))
            generated = max(generated, sum(min(made, script.length) for script in answer.scripts))
        self._bills.add(self.config, entry, generated, outcome)

    def _ticker(self, stream: _Stream) -> Callable[[float], None]:
        def tick(planned: float) -> None:
            if stream.answer.done.done():
                return
            if not self.generation.is_set():
                self._wheel.at(time.monotonic() + STALL_S, tick)
                return
            self._frame(stream)
            if not stream.answer.done.done():
                self._wheel.at(planned + stream.gap, tick)

        return tick

    def _frame(self, stream: _Stream) -> None:
        stream.frame += 1
        due = max(1, int(stream.tokens_per_frame * stream.frame))
        for choice, script in enumerate(stream.answer.scripts):
            sent = stream.sent[choice]
            count = min(due, script.length) - sent
            if count > 0:
                stream.sent[choice] = sent + count
                stream.answer.emit(choice, sent, count)
