"""What a worker and a managed API share: journal, faults, and the way from an HTTP request to an answer."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping

from .answer import Answer
from .bodies import BadBody, GenBody
from .draws import Draws
from .exchange import ClientGone, Exchange, Header
from .framing import Flavour, Head
from .journal import Entry
from .origin import Origin, origin
from .refusal import Refusal
from .scripts import write
from .station import Station
from .talks import MESSAGES, Talk


class Service(Station):
    """A server of text."""

    flavour: Flavour
    talks: Mapping[str, Talk]
    continues = False
    """Whether it goes on from a partial answer: see `origin`."""
    strict = False
    aborts_plain = True
    """Whether an answer that is not streamed ends when its client leaves."""

    def __init__(self, name: str, model: str, seed: int) -> None:
        super().__init__(name, model, seed)
        self.writing = Draws(seed, "")
        """What is said, and how much: the same on every server."""

    def _told(self, refusal: Refusal, path: str) -> object:
        """The body in the shape of its path: Anthropic's on /v1/messages."""
        return refusal.anthropic() if path.startswith(MESSAGES) else refusal.wrapped()

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
        if answer.streamed or self.aborts_plain:
            exchange.on_gone(answer.abort)
        if answer.streamed:
            await exchange.start(headers)
        self._run(answer, entry, choices, cap)
        answer.done.add_done_callback(lambda done: self._over(answer, entry, done))
        outcome = await answer.done
        self.journal.close(entry, outcome, 200)
        if outcome != "finished":
            await exchange.gone
        elif answer.streamed:
            await exchange.end()
        else:
            await exchange.reply(200, answer.whole(), headers)

    def _over(self, answer: Answer, entry: Entry, done: asyncio.Future[str]) -> None:
        self._ended(answer, entry, "lost" if done.cancelled() else done.result())
        self._stopped(answer)

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
        answer = Answer(exchange, talk.framing(head, body, scripts, entry, self.flavour, self.faults.usage), entry)
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

    def _ended(self, answer: Answer, entry: Entry, outcome: str) -> None:
        """An answer is over, in whatever way: called before it is `_stopped`."""

    def _admit(self, entry: Entry, body: GenBody, output: int) -> list[Header]:
        """Headers of the coming answer. Raises Refusal when a limit is exceeded; workers queue instead."""
        return []
