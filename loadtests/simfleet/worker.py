"""A vLLM-like GPU worker: vLLM's HTTP surface in front of one engine."""

from __future__ import annotations

import time

from .answer import Answer
from .bodies import GenBody
from .config import WorkerConfig
from .dcgm import GpuReading
from .driver import Driver
from .engine import Engine, Sequence
from .exchange import Exchange
from .faults import Change
from .framing import VLLM
from .honesty import Honesty
from .journal import Entry
from .metrics import Lagged, Stats
from .page import Page
from .service import Refusal, Service
from .talks import SPOKEN_BY_VLLM

VERSION = "0.32.0"
_ERROR_TYPES = {
    400: "BadRequestError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    503: "ServiceUnavailableError",
}
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class Worker(Service):
    """One GPU worker; also the source of its GPU's readings."""

    flavour = VLLM
    talks = SPOKEN_BY_VLLM

    def __init__(self, config: WorkerConfig, seed: int, honesty: Honesty) -> None:
        super().__init__(config.name, config.model, seed)
        self.config = config
        self._honesty = honesty
        self._owners: dict[Sequence, tuple[Answer, int]] = {}
        self._sequences: dict[Answer, list[Sequence]] = {}
        self._frozen: bytes | None = None
        self.scrapes = 0
        """How often its page was asked for, over all its lives."""
        self.revive()

    # -- life --------------------------------------------------------------------------------------------------

    def revive(self) -> None:
        """A new process: new start time, empty engine, counters at zero."""
        super().revive()
        self.started = time.time()
        engine = Engine(self.config)
        self.driver = Driver(engine, Stats(), Lagged(self.config.gauge_lag_s), self._honesty, self._on_token)
        self._page = Page(self.config, self.started)
        self._frozen = None
        self._obey_faults()

    def die(self) -> None:
        super().die()
        self.driver.pause()
        for answer in list(self._sequences):
            self._stopped(answer)
            answer.abort()

    def apply(self, change: Change) -> None:
        super().apply(change)
        self._obey_faults()

    def _obey_faults(self) -> None:
        self.driver.engine.slow = self.faults.slow
        self.driver.block_ms = self.faults.block_ms
        if self.faults.hang or not self.alive:
            self.driver.pause()
        else:
            self.driver.resume()
        self._frozen = (self._frozen or self._render()) if self.faults.freeze_metrics else None

    # -- what it shows -----------------------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        engine = self.driver.engine
        return {
            "running": len(engine.running),
            "waiting": len(engine.waiting),
            "kv": engine.kv_usage,
            "kv_blocks_used": engine.used_blocks,
            "seats": self.config.max_num_seqs,
            "preemptions": engine.preemptions,
            "generation_tokens": self.driver.stats.generation_tokens,
            "started": self.started,
            "scrapes": self.scrapes,
        }

    def gpu(self) -> GpuReading:
        """What DCGM sees of this worker's GPU."""
        load = self.driver.gauges.read(time.monotonic()) if self.alive else None
        return GpuReading(self.config.gpu, load, self.config.max_num_seqs, self.faults.xid)

    def _render(self) -> bytes:
        load = self.driver.gauges.read(time.monotonic())
        return self._page.render(load, self.driver.engine, self.driver.stats, time.process_time())

    async def _probe(self, exchange: Exchange) -> None:
        if self.faults.hang and not await exchange.wait(self.generation):
            return
        if exchange.path == "/metrics":
            self.scrapes += 1
            await exchange.reply(200, self._frozen or self._render(), content_type=_TEXT)
        elif exchange.path == "/version":
            await exchange.reply(200, {"version": VERSION})
        else:
            await exchange.reply(503 if self.warming else 200, b"")

    def _models(self) -> dict[str, object]:
        card = {"id": self.model, "object": "model", "created": int(self.started), "owned_by": "vllm"}
        more: dict[str, object] = {
            "root": self.model,
            "parent": None,
            "max_model_len": self.config.max_model_len,
            "permission": [],
        }
        return {"object": "list", "data": [card | more]}

    # -- generating --------------------------------------------------------------------------------------------

    def _refuse(self, status: int, message: str, param: str | None = None) -> Refusal:
        return Refusal(status, message, _ERROR_TYPES.get(status, "InternalServerError"), status, param=param)

    def _authorize(self, exchange: Exchange) -> None:
        """vLLM without --api-key lets everybody in."""

    def _check_model(self, body: GenBody) -> None:
        if body.model not in (None, self.model):  # like vLLM, which takes a missing model for its own
            raise self._refuse(404, f"The model `{body.model}` does not exist.", "model")

    def _output_cap(self, body: GenBody, prompt: int) -> int:
        longest = self.config.max_model_len
        if prompt + (body.limit or 1) > longest:
            message = (
                f"This model's maximum context length is {longest} tokens. However, you requested "
                f"{body.limit or 1} output tokens and your prompt contains {prompt} input tokens."
            )
            raise self._refuse(400, message, "max_tokens" if prompt < longest else "messages")
        return body.limit or longest - prompt

    def _draw_length(self, index: int) -> float:
        return self.draws.lognormal(index, "length", self.config.output_median, self.config.output_sigma)

    def _answer_id(self, entry: Entry, prefix: str) -> str:
        return f"{prefix}-{entry.x_request_id or f'{self.name}-{entry.seq:08x}'}"

    def _run(self, answer: Answer, entry: Entry, prompts: list[int], cap: int) -> None:
        now = time.monotonic()
        sequences = [
            Sequence(prompt, script.length, now) for prompt, script in zip(prompts, answer.scripts, strict=True)
        ]
        self._sequences[answer] = sequences
        self.driver.stats.asked(len(sequences), cap)
        self._owners.update({sequence: (answer, choice) for choice, sequence in enumerate(sequences)})
        self.driver.submit(sequences)

    def _stopped(self, answer: Answer) -> None:
        for sequence in self._sequences.pop(answer, ()):
            self._owners.pop(sequence, None)
            self.driver.abort(sequence)

    def _on_token(self, sequence: Sequence) -> None:
        owner = self._owners.get(sequence)
        if owner is None:
            return
        answer, choice = owner
        answer.emit(choice, sequence.generated - 1, 1)
        if sequence.generated >= sequence.output_tokens:
            self.driver.stats.ended(sequence, "length" if answer.scripts[choice].finish == "length" else "stop")
