"""How chat/completions and completions frame an answer, in vLLM's or OpenAI's exact bytes; and what all framings do."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from .bodies import GenBody
from .journal import Entry
from .scripts import Script

_NULL = b"null"


@dataclass(frozen=True, slots=True)
class Flavour:
    """How the two APIs frame the same stream."""

    choice_tail: bytes
    null_usage: bytes
    """In each chunk before the usage chunk, when the caller asked for usage."""
    finish_apart: bool
    """finish_reason comes in a chunk of its own, with an empty delta."""
    done_after_messages: bool
    """`data: [DONE]` after an Anthropic stream's own end, as vLLM sends it."""


VLLM = Flavour(choice_tail=b',"stop_reason":null', null_usage=b"", finish_apart=False, done_after_messages=True)
OPENAI = Flavour(choice_tail=b"", null_usage=b',"usage":null', finish_apart=True, done_after_messages=False)
SGLANG = Flavour(b',"matched_stop":null', null_usage=b',"usage":null', finish_apart=True, done_after_messages=False)


@dataclass(frozen=True, slots=True)
class Head:
    """What all chunks of an answer share. `nonce` comes back as system_fingerprint: whose answer is this?"""

    id: str
    model: str
    nonce: str | None


class Framing(ABC):
    """One answer on its way into bytes. `entry` holds the tokens so far."""

    writes: ClassVar[bool] = True
    """Whether its tokens are output; an embedding has none."""

    def __init__(
        self,
        head: Head,
        body: GenBody,
        scripts: list[Script],
        entry: Entry,
        flavour: Flavour,
        usage: str = "true",
    ) -> None:
        """`usage`: one of `faults.USAGES`."""
        self.head, self.body, self.scripts, self.entry, self.flavour = head, body, scripts, entry, flavour
        self._told = usage
        self._prepare()

    def _prepare(self) -> None:  # noqa: B027 - most need nothing
        """What a kind of answer works out once, at its beginning."""

    @abstractmethod
    def frames(self, choice: int, first: int, count: int, *, last: bool, closing: bool) -> bytes:
        """Tokens first .. first+count-1 of a choice; `last` ends the choice, `closing` the answer."""

    @abstractmethod
    def whole(self) -> bytes:
        """The body of an answer that is not streamed."""

    @abstractmethod
    def _counts(self) -> dict[str, Any]:
        """The true usage so far, in the API's words."""

    def _usage(self) -> dict[str, Any] | None:
        """What is told of it. None: nothing at all."""
        return None if self._told == "none" else _spoilt(self._counts(), self._told)


_LIES: Mapping[str, Any] = {"negative": -5, "huge": 10**15, "text": "many", "null": None}


def _spoilt(counts: dict[str, Any], how: str) -> dict[str, Any]:
    """Every figure is a lie of that kind; `true`: none is."""
    if how == "true":
        return counts
    return {name: _spoilt(told, how) if isinstance(told, dict) else _LIES[how] for name, told in counts.items()}


class Chat(Framing):
    """Unnamed frames, one per emission; `[DONE]` at the end."""

    kind: ClassVar[str] = "chat.completion"
    chunk_kind: ClassVar[str] = "chat.completion.chunk"
    key: ClassVar[bytes] = b"delta"
    opening: ClassVar[bytes | None] = b'{"role":"assistant","content":""}'
    nothing: ClassVar[bytes] = b"{}"

    def _prepare(self) -> None:
        self._prefix = b"data: %b" % msgspec.json.encode(self._fields(self.chunk_kind))[:-1]
        self._null_usage = self.flavour.null_usage if self.body.include_usage else b""

    def frames(self, choice: int, first: int, count: int, *, last: bool, closing: bool) -> bytes:
        script = self.scripts[choice]
        finish = b'"%b"' % script.finish.encode() if last else _NULL
        inline = _NULL if self.flavour.finish_apart else finish
        frames = self._chunk(choice, script.delta(first, count), inline)
        if first == 0 and self.opening is not None:
            frames = self._chunk(choice, self.opening, _NULL) + frames
        if last and self.flavour.finish_apart:
            frames += self._chunk(choice, self.nothing, finish)
        return frames + self._ending() if closing else frames

    def whole(self) -> bytes:
        choices = [
            {"index": i, **script.whole(), "logprobs": None, "finish_reason": script.finish}
            for i, script in enumerate(self.scripts)
        ]
        usage = self._usage()
        told = {} if usage is None else {"usage": usage}
        return msgspec.json.encode({**self._fields(self.kind), "choices": choices, **told})

    def _fields(self, kind: str) -> dict[str, Any]:
        head, created = self.head, int(time.time())
        return {
            "id": head.id,
            "object": kind,
            "created": created,
            "model": head.model,
            "system_fingerprint": head.nonce,
        }

    def _chunk(self, choice: int, content: bytes, finish: bytes) -> bytes:
        usage = self._null_usage
        if self.body.continuous_usage and self.body.include_usage:
            usage = b',"usage":%b' % msgspec.json.encode(self._usage())
        return b'%b,"choices":[{"index":%d,"%b":%b,"logprobs":null,"finish_reason":%b%b}]%b}\n\n' % (
            *(self._prefix, choice, self.key, content, finish, self.flavour.choice_tail, usage),
        )

    def _ending(self) -> bytes:
        if not self.body.include_usage or self._usage() is None:
            return b"data: [DONE]\n\n"
        usage = msgspec.json.encode(self._usage())
        return b'%b,"choices":[],"usage":%b}\n\ndata: [DONE]\n\n' % (self._prefix, usage)

    def _counts(self) -> dict[str, Any]:
        prompt, completion, cached = self.entry.prompt_tokens, self.entry.completion_tokens, self.entry.cached_tokens
        details = {"prompt_tokens_details": {"cached_tokens": cached}} if cached else {}
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            **details,
        }


class Completion(Chat):
    kind = "text_completion"
    chunk_kind = "text_completion"
    key = b"text"
    opening = None
    nothing = b'""'
