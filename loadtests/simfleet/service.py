"""What a worker and a managed API share: journal, faults, and the way from an HTTP request to an answer."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

from .answer import Answer
from .bodies import BadBody, GenBody
from .draws import Draws
from .exchange import ClientGone, Exchange, Header
from .faults import Change, Faults
from .framing import Flavour, Head
from .journal import Entry, Journal
from .origin import Origin, origin
from .refusal import Refusal
from .scripts import write
from .talks import MESSAGES, Talk

PROBES = {"/metrics", "/health", "/version", "/ping"}
"""Counted, but kept out of the journal: two a second would push the requests out."""
RETRY_AFTER = b"retry-after"


class Service(ABC):
    """One simulated server. `port` is known once its socket is bound."""

    flavour: Flavour
    talks: Mapping[str, Talk]
    continues = False
    """Whether it goes on from a partial answer: see `origin`."""
    strict = False

    def __init__(self, name: str, model: str, seed: int) -> None:
        self.name = name
        self.model = model
        self.port = 0
        self.alive = True
        self.faults = Faults()
        self.journal = Journal()
        self.draws = Draws(seed, name)
        self.writing = Draws(seed, "")
        """What is said, and how much: the same on every server."""
        self.probes: dict[str, int] = {}
        self._asked = 0
        self.generation = asyncio.Event()
        """Set while requests are served: neither hanging nor warming up."""
        self.generation.set()
        self._warming: asyncio.TimerHandle | None = None

    # -- control -----------------------------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Take over faults; death and revival of the port are the fleet's business."""
        self.faults = self.faults.after(change)
        if change.clear:
            self._warm()
        if isinstance(change.cold_start, float):
            self._warm()
            self._warming = asyncio.get_running_loop().call_later(change.cold_start, self._warm)
        self._settle()

    def die(self) -> None:
        """Forget everything in flight, as a killed process does."""
        self.alive = False
        self.journal.lose()

    def revive(self) -> None:
        self.alive = True

    @property
    def warming(self) -> bool:
        return self._warming is not None or self.faults.loading

    def _warm(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
        self._warming = None
        self._settle()

    @property
    def held(self) -> bool:
        """Whether requests wait."""
        return self.faults.hang or self.warming

    def _settle(self) -> None:
        if self.held:
            self.generation.clear()
        else:
            self.generation.set()

    @abstractmethod
    def state(self) -> dict[str, object]:
        """The live truth, for GET /sim/state."""

    # -- requests ----------------------------------------------------------------------------------------------

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request. Raises ClientGone."""
        if self.faults.reset_rate and self.draws.uniform(self._asked, "reset") < self.faults.reset_rate:
            self._asked += 1
            exchange.connection.reset()
            await exchange.gone
            return
        self._asked += 1
        if self._is_probe(exchange):
            self.probes[exchange.path] = self.probes.get(exchange.path, 0) + 1
            await self._probe(exchange)
            return
        entry = self.journal.open(exchange)
        try:
            await self._serve(exchange, entry)
        except Refusal as refusal:
            self.journal.close(entry, "error", refusal.status)
            await exchange.reply(refusal.status, self._told(refusal, exchange.path), refusal.headers)
        finally:
            self.journal.close(entry, "aborted")

    def _is_probe(self, exchange: Exchange) -> bool:
        return exchange.path in PROBES

    def _told(self, refusal: Refusal, path: str) -> object:
        """The body in the shape of its path: Anthropic's on /v1/messages."""
        return refusal.anthropic() if path.startswith(MESSAGES) else refusal.wrapped()

    @abstractmethod
    async def _probe(self, exchange: Exchange) -> None:
        """Answer a request for which `_is_probe` holds."""

    async def _serve(self, exchange: Exchange, entry: Entry) -> None:
        raw = await exchange.body()
        if self.faults.hang and not await exchange.wait(self.generation):
            raise ClientGone
        self._authorize(exchange)
        if exchange.path == "/v1/models" and exchange.method == "GET":
            self.journal.close(entry, "finished", 200)
            await exchange.reply(200, self._models())
            return
        talk = self.talks.get(exchange.path)
        if talk is None:
            raise self._refuse(404, "Not Found")
        if exchange.method != "POST":
            raise self._refuse(405, "Method Not Allowed")
        if not await exchange.wait(self.generation):
            raise ClientGone
        await self._generate(exchange, entry, raw, talk)

    async def _generate(self, exchange: Exchange, entry: Entry, raw: bytes, talk: Talk) -> None:
        try:
            body, prompts = talk.read(raw)
        except BadBody as fault:
            raise self._refuse(400, fault.message, fault.param) from None
        entry.model, entry.stream, entry.prompt_tokens = body.model, bool(body.stream), sum(prompts)
        entry.user = body.user
        self._inject(entry)  # read already: the journal knows what it was
        self._check_model(body)
        if talk.framing is None:
            self.journal.close(entry, "finished", 200)
            await exchange.reply(200, {"input_tokens": sum(prompts)})
            return
        choices = [tokens for tokens in prompts for _ in range(body.n or 1)]
        cap = self._output_cap(body, max(prompts))
        headers = self._admit(entry, body, cap * len(choices))
        answer = self._answer(exchange, entry, body, len(choices), cap, talk, self._origin(body))
        exchange.on_gone(answer.abort)
        if answer.streamed:
            await exchange.start(headers)
        self._run(answer, entry, choices, cap)
        answer.done.add_done_callback(lambda _: self._stopped(answer))
        outcome = await answer.done
        self.journal.close(entry, outcome, 200)
        if outcome != "finished":
            await exchange.gone
        elif answer.streamed:
            await exchange.end()
        else:
            await exchange.reply(200, answer.whole(), headers)

    def _inject(self, entry: Entry) -> None:
        faults = self.faults
        if self.draws.uniform(entry.seq, "error") >= faults.error_rate:
            return
        refusal = self._refuse(faults.error_status, "Injected fault")
        if faults.retry_after_s is not None:
            refusal.headers = (*refusal.headers, (RETRY_AFTER, str(math.ceil(faults.retry_after_s)).encode()))
        raise refusal

    def _origin(self, body: GenBody) -> Origin:
        try:
            return origin(body, continues=self.continues, strict=self.strict)
        except BadBody as fault:
            raise self._refuse(400, fault.message, fault.param) from None

    def _answer(
        self, exchange: Exchange, entry: Entry, body: GenBody, choices: int, cap: int, talk: Talk, told: Origin
    ) -> Answer:
        assert talk.framing is not None
        drawn = self._draw_length(told.key)
        scripts = [
            write(body, chat=talk.chat, drawn=drawn, offset=told.key, cap=cap, said=told.said) for _ in range(choices)
        ]
        entry.id = self._answer_id(entry, talk.prefix)
        head = Head(entry.id, self._named(body), entry.x_nonce or body.user)
        answer = Answer(exchange, talk.framing(head, body, scripts, entry, self.flavour), entry)
        drop = self.faults.drop
        if drop is not None and self.draws.uniform(entry.seq, "drop") < drop.share:
            answer.drop_after = drop.after_frames
        stall = self.faults.stall
        if stall is not None and self.draws.uniform(entry.seq, "stall") < stall.share:
            answer.stall = stall
        return answer

    def _named(self, body: GenBody) -> str:
        """The model that the answer names."""
        return self.model

    # -- what differs between the two kinds --------------------------------------------------------------------

    @abstractmethod
    def _refuse(self, status: int, message: str, param: str | None = None) -> Refusal:
        """The refusal in this API's shape."""

    @abstractmethod
    def _authorize(self, exchange: Exchange) -> None:
        """Raises Refusal for a caller without the right key."""

    @abstractmethod
    def _models(self) -> object:
        """The body of GET /v1/models."""

    @abstractmethod
    def _check_model(self, body: GenBody) -> None:
        """Raises Refusal for a model that is not served."""

    @abstractmethod
    def _output_cap(self, body: GenBody, prompt: int) -> int:
        """Most output tokens one choice may have. Raises Refusal when the prompt leaves no room."""

    @abstractmethod
    def _draw_length(self, key: int) -> float:
        """The model's own length of the answer to a conversation, in tokens."""

    @abstractmethod
    def _answer_id(self, entry: Entry, prefix: str) -> str: ...

    @abstractmethod
    def _run(self, answer: Answer, entry: Entry, prompts: list[int], cap: int) -> None:
        """Start generating; one prompt length per choice."""

    @abstractmethod
    def _stopped(self, answer: Answer) -> None:
        """The answer ended, in whatever way: free what it still holds."""

    def _admit(self, entry: Entry, body: GenBody, output: int) -> list[Header]:
        """Headers of the coming answer. Raises Refusal when a limit is exceeded; workers queue instead."""
        return []
