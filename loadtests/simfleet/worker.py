"""A GPU worker: the HTTP surface of its engine in front of the one step-level engine of the simulator."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from .answer import Answer
from .bodies import GenBody
from .config import WorkerConfig
from .dcgm import GpuReading
from .driver import Driver
from .engine import Engine, Sequence
from .exchange import Exchange
from .faults import Change
from .honesty import Honesty
from .journal import Entry
from .metrics import Lagged, Stats
from .refusal import Refusal
from .service import Service
from .spoil import spoil
from .station import PROBES, Station
from .surfaces import TEXT
from .surfaces.surface import Hosted, Reply, Seen, Surface
from .talks import MESSAGES, Talk

MODELS = "/v1/models"


class Worker(Service):
    """One GPU worker; also the source of its GPU's readings."""

    others: Mapping[str, Station] = {}
    """The servers of the fleet by name: a lying worker shows the page of another one."""

    def __init__(self, config: WorkerConfig, seed: int, honesty: Honesty) -> None:
        super().__init__(config.name, config.model, seed)
        self.config = config
        self._honesty = honesty
        self._owners: dict[Sequence, tuple[Answer, int]] = {}
        self._sequences: dict[Answer, list[Sequence]] = {}
        self._frozen: dict[str, Reply] = {}
        """Metrics pages as they stood when they were frozen, by path."""
        self.metrics_port = 0
        """A second port for its metrics, if its engine has one."""
        self.scrapes = 0
        """How often its page was asked for, over all its lives."""
        self.revive()

    # -- life --------------------------------------------------------------------------------------------------

    def revive(self) -> None:
        """A new process: new start time, empty engine, counters at zero."""
        super().revive()
        self.started = time.time() if hasattr(self, "started") else time.time() - self.config.age_s
        engine = Engine(self.config)
        self.driver = Driver(engine, Stats(), Lagged(self.config.gauge_lag_s), self._honesty, self._on_token)
        self.surface: Surface = TEXT[self.config.engine](self.config, self.started)
        self.flavour, self.talks = self.surface.flavour, self.surface.talks
        self.continues, self.strict = self.surface.continues, self.surface.strict
        self.aborts_plain = self.surface.aborts_plain
        self._serve_names((self.config.model, *self.config.models))
        self._adapters, self._asleep = self.config.adapters, self.config.asleep
        self._frozen = {}
        self._obey_faults()

    def die(self) -> None:
        super().die()
        self.driver.pause()
        for answer in list(self._sequences):
            self._stopped(answer)
            answer.abort()

    def apply(self, change: Change) -> None:
        if change.clear:
            self._serve_names((self.config.model, *self.config.models))
            self._adapters, self._asleep = self.config.adapters, self.config.asleep
        if isinstance(change.models, list):
            self._serve_names(tuple(change.models))
        if isinstance(change.adapters, list):
            self._adapters = tuple(change.adapters)
        if isinstance(change.asleep, bool):
            self._asleep = change.asleep
        super().apply(change)
        self._obey_faults()

    @property
    def held(self) -> bool:
        return super().held or self._asleep

    def _serve_names(self, names: tuple[str, ...]) -> None:
        self._models_now, self.model = names, names[0]

    def _obey_faults(self) -> None:
        self.driver.engine.slow = self.faults.slow
        self.driver.block_ms = self.faults.block_ms
        fault = self.faults.metrics
        self.driver.gauges.lag = self.config.gauge_lag_s if fault is None or fault.lag_s is None else fault.lag_s
        if self.faults.hang or not self.alive:
            self.driver.pause()
        else:
            self.driver.resume()
        self._frozen = (self._frozen or self._metrics_pages()) if self.faults.freeze_metrics else {}

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

    @property
    def metrics_pages(self) -> frozenset[str]:
        return self.surface.metrics_pages

    @property
    def hosted(self) -> Hosted:
        return Hosted(self._models_now, self._adapters, self._asleep)

    def gpus(self) -> list[GpuReading]:
        """What DCGM sees of this worker's GPUs."""
        load = self.driver.gauges.read(time.monotonic()) if self.alive else None
        config, faults = self.config, self.faults
        placed = {"pod": config.pod, "namespace": config.namespace, "fault": faults.gpu, "kind": config.gpu_kind}
        return [
            GpuReading(config.gpu + rank, load, config.max_num_seqs, faults.xid, uuid, **placed)  # type: ignore[arg-type]
            for rank, uuid in enumerate(config.gpu_uuids)
        ]

    def seen(self, query: dict[str, str] | None = None) -> Seen:
        """This process now, as its pages tell it."""
        return Seen(
            config=self.config,
            hosted=self.hosted,
            load=self.driver.gauges.read(time.monotonic()),
            engine=self.driver.engine,
            stats=self.driver.stats,
            started=self.started,
            cpu_s=time.process_time(),
            ready=not self.warming,
            query=query or {},
        )

    def metrics(self) -> Reply:
        """Its main metrics page, faults aside."""
        return self.surface.metrics(self.seen())

    def _metrics_pages(self) -> dict[str, Reply]:
        seen = self.seen()
        return {path: self.surface.pages[path](seen) for path in self.surface.metrics_pages}

    async def show_metrics(self, exchange: Exchange) -> None:
        """A page of its metrics, with what is wrong with it now."""
        self.scrapes += 1
        page = self._frozen.get(exchange.path) or self.surface.pages[exchange.path](self.seen())
        fault = self.faults.metrics
        if fault is None:
            await exchange.reply(page.status, page.body, content_type=page.content_type)
            return
        other = self.others.get(fault.page_of or "")
        true = other.metrics() if isinstance(other, Worker) else page
        if fault.delay_s and await exchange.left_within(fault.delay_s):
            return
        page, headers = spoil(true, fault)
        await exchange.reply(page.status, page.body, headers, page.content_type)

    def _is_probe(self, exchange: Exchange) -> bool:
        """No GET of a text engine generates anything: the gateway asks for models, and for pages of other engines."""
        return exchange.path in PROBES or exchange.method == "GET"

    async def _probe(self, exchange: Exchange) -> None:
        if self.faults.hang and not await exchange.wait(self.generation):
            return
        surface = self.surface
        show = surface.models if exchange.path == MODELS else surface.pages.get(exchange.path)
        if show is None or (surface.apart and exchange.path == "/metrics"):
            refusal = self._refuse(404, "Not Found")
            await exchange.reply(404, surface.error(refusal))
        elif exchange.path in surface.metrics_pages:
            await self.show_metrics(exchange)
        else:
            query = dict(parse_qsl(exchange.query.decode("latin-1"), keep_blank_values=True))
            page = show(self.seen(query))
            await exchange.reply(page.status, page.body, content_type=page.content_type)

    def _models(self) -> object:
        return self.surface.models(self.seen()).body

    # -- generating --------------------------------------------------------------------------------------------

    def _refuse(self, status: int, message: str, param: str | None = None) -> Refusal:
        kind = self.surface.error_types.get(status, self.surface.error_type)
        return Refusal(status, message, kind, status, param=param)

    def _told(self, refusal: Refusal, path: str) -> object:
        surface = self.surface
        return surface.message_error(refusal) if path.startswith(MESSAGES) else surface.error(refusal)

    def _authorize(self, exchange: Exchange) -> None:
        """vLLM without --api-key lets everybody in."""

    def _check_model(self, body: GenBody) -> None:
        if body.model is not None and not self._serves(
            body.model
        ):  # like vLLM, which takes a missing model for its own
            raise self._refuse(404, f"The model `{body.model}` does not exist.", "model")

    def _serves(self, model: str) -> bool:
        return self.surface.any_model or model in self.hosted.names

    def _named(self, body: GenBody) -> str:
        return self.model if self.surface.any_model else body.model or self.model

    async def handle(self, exchange: Exchange) -> None:
        exchange.server = self.surface.server
        await super().handle(exchange)

    async def _serve(self, exchange: Exchange, entry: Entry) -> None:
        act = self.surface.actions.get(exchange.path) if exchange.method == "POST" else None
        if act is None:
            early = self.surface.refuses_while_loading
            if early is not None and self.warming:
                raise self._refuse(503, early)
            await super()._serve(exchange, entry)
            return
        try:
            body = msgspec.json.decode(await exchange.body() or b"{}", type=dict[str, Any])
            change = act(self.seen(), body)
        except (msgspec.MsgspecError, KeyError) as fault:
            raise self._refuse(400, f"Bad body: {fault}") from None
        self.apply(change)
        self.journal.close(entry, "finished", 200)
        await exchange.reply(200, {})

    async def _generate(self, exchange: Exchange, entry: Entry, raw: bytes, talk: Talk) -> None:
        self._refuse_when_full()
        await super()._generate(exchange, entry, raw, talk)

    def _refuse_when_full(self) -> None:
        limit, engine = self.config.max_queued, self.driver.engine
        if limit is None or len(engine.waiting) + len(engine.running) < limit + self.config.max_num_seqs:
            return
        raise self._refuse(self.surface.full_status, self.surface.full_text)

    def _output_cap(self, body: GenBody, prompt: int) -> int:
        longest = self.config.max_model_len
        if prompt + (body.limit or 1) > longest:
            message = (
                f"This model's maximum context length is {longest} tokens. However, you requested "
                f"{body.limit or 1} output tokens and your prompt contains {prompt} input tokens."
            )
            raise self._refuse(400, message, "max_tokens" if prompt < longest else "messages")
        return body.limit or longest - prompt

    def _draw_length(self, key: int) -> float:
        return self.writing.lognormal(key, "length", self.config.output_median, self.config.output_sigma)

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
