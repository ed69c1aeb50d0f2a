"""What a client has of its stream, kept so that another worker can go on with it: one answer, whoever writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import BadAnswer, NotContinued, UpstreamFault
from gateway.model import GenRequest, Usage
from gateway.routing.learn import BYTES_PER_TOKEN
from gateway.upstreams.dialects import continuation
from gateway.upstreams.sse import data_of, split

MOST_BYTES = 256 << 10
"""Of text, for each stream that may be rescued: some 60,000 tokens. A longer one is not."""
MERGED = 3 * BYTES_PER_TOKEN
"""Bytes of text per frame past which a frame was not a token: an engine under load writes several into one."""
_THINKS = ("<think>", "</think>")
"""Templates take the thoughts out of a message that is said to be the model's own."""
_SPLIT = max(map(len, _THINKS)) - 1
"""Characters of such a mark that an earlier frame may hold."""
SEAM = 16
"""Characters by which a worker is known that begins the answer anew: some engines ignore the wish to go on for models
with a format of their own, others say once more what they were told. Text that repeats itself may look so, too: better
an error than an answer that is read twice."""
_ODD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, TypeError)
"""What a frame raises that is not as the API has it."""
_OF_THE_WHOLE = ("id", "model", "created")
_DONE, _ERROR = b"[DONE]", (b'{"error"', b'{ "error"')
_EMPTY = (b"null", b'""', b"[]", b"{}")


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, Raw] = {}
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_fields = msgspec.json.Decoder(dict[str, Raw])
_choices = msgspec.json.Decoder(list[dict[str, Raw]])
_text = msgspec.json.Decoder(str | None)


class Delivered:
    """Of one streamed text. Fed with whole frames as they are about to leave; those of a worker that goes on with
    another one's stream are made to fit: id, model and time of the first, no second role, usage of the whole."""

    def __init__(self, request: GenRequest, fields: Mapping[str, Raw]) -> None:
        """`fields`: the request's body."""
        self._request, self._body = request, fields
        self._pieces: list[str] = []
        self._bytes = self._frames = 0
        self._tail = ""
        self._head: dict[str, Raw] = {}
        self._role_said = False
        self._sound, self._finished = True, False
        self._before = 0
        """Tokens that the next worker finds in its prompt."""
        self._due = ""
        """White space that the client has and the next worker has not been told of: it will write it again."""
        self._seam = ""
        """How the text begins that the next worker was told of, until it has said something else."""
        self._held: list[bytes] = []
        """Its frames until then."""
        self.trouble: UpstreamFault | None = None
        """Why nobody should hear any more of it: it does not go on, or not in frames that can be read."""
        self.parts = 0
        """Attempts that broke off."""
        self.fault: UpstreamFault | None = None
        """How the first of them did."""
        self.left_open = False
        """Its last part broke off between two frames, and the client was told nothing."""
        self.silenced = False
        """An error event of an upstream was kept from the client, who must be told by us if nobody goes on."""

    @classmethod
    def of(cls, request: GenRequest, fields: Mapping[str, Raw]) -> Delivered | None:
        """None where nobody could go on with the answer to such a request."""
        able = request.stream and request.n == 1 and request.text_only
        return cls(request, fields) if able and continuation.continuable(request.endpoint, fields) else None

    @property
    def going_on(self) -> bool:
        """Another worker is to write the rest."""
        return self.parts > 0

    @property
    def written(self) -> int:
        """Tokens that the client has, about: its frames, or by its bytes where frames hold several."""
        return self._frames if self._bytes <= MERGED * self._frames else round(self._bytes / BYTES_PER_TOKEN)

    @property
    def open(self) -> bool:
        """Whether somebody else could write the rest, as far as is known here."""
        most = continuation.cap(self._body)
        return self._sound and not self._finished and (most is None or self.written < most)

    def broke_off(self, fault: UpstreamFault) -> None:
        self.parts += 1
        self.left_open = False
        self.fault = self.fault or fault
        text = "".join(self._pieces)
        kept = text.rstrip() if self._request.endpoint == "chat/completions" else text
        self._due = text[len(kept) :]
        self._before = max(0, self.written - _pieces_in(self._pieces, len(self._due)))
        self._seam = kept[:SEAM] if self._request.endpoint == "chat/completions" else ""
        self._held.clear()
        self.trouble = None

    def body(self) -> dict[str, Raw]:
        """What the next worker is asked for."""
        text = "".join(self._pieces)
        told = text[: len(text) - len(self._due)]
        return continuation.continued(self._request.endpoint, self._body, told, self._before)

    def request(self) -> GenRequest:
        """The rest as routing sees it: a longer prompt, a shorter answer, under the rule of the whole."""
        sent, most = self._request.prompt_bytes, self._request.max_tokens
        left = None if most is None else max(1, most - self._before)
        return replace(self._request, prompt_bytes=sent + self._bytes, max_tokens=left, whole=(sent, most))

    def whole(self, part: Usage) -> Usage:
        """The usage of the answer, from that of its last part, whose prompt held all that was written before."""
        prompt, written = max(0, part.input_tokens - self._before), part.output_tokens + self._before
        cached = min(part.cached_tokens, prompt)
        return replace(part, input_tokens=prompt, output_tokens=written, cached_tokens=cached, estimated=True)

    def cut(self, piece: bytes) -> bytes:
        """Part of a frame that is too long to be looked at."""
        if self.going_on:
            return self._give_up(BadAnswer("a frame that is too long to be made to fit"))
        self._sound = False
        return piece

    def take(self, piece: bytes) -> bytes:
        """Whole frames in, what the client is to get out. An error event of the upstream is left out."""
        if self.trouble is not None:
            return b""
        if not self._sound and not self.going_on:
            return piece
        frames = split(piece)
        rest = piece[sum(map(len, frames)) :]  # of a stream that ends in the middle of a frame
        if self._seam:
            frames = self._past_seam(frames)
        return b"".join([*map(self._frame, frames), rest])

    def _past_seam(self, frames: list[bytes]) -> list[bytes]:
        """Nothing until it is clear that the worker goes on; then all that was held."""
        self._held += frames
        words = "".join(map(self._said, self._held))
        if words.startswith(self._seam):
            self._give_up(NotContinued("began the answer anew when it was to go on with it"))
            return []
        if self._seam.startswith(words) and not any(map(_ends, frames)):
            return []
        self._seam, held = "", list(self._held)
        self._held.clear()
        return held

    def _said(self, frame: bytes) -> str:
        try:
            chunk = _chunk.decode(data_of(frame))
            return self._words(chunk) if chunk.choices else ""
        except _ODD:
            return ""

    def _give_up(self, why: UpstreamFault) -> bytes:
        self.trouble = why
        return b""

    def _frame(self, frame: bytes) -> bytes:
        data = data_of(frame)
        if self.trouble is not None:
            return b""
        if data == _DONE or not data:
            return frame
        if data.startswith(_ERROR):
            self.silenced = True
            return b""
        try:
            return self._fitted(frame, data)
        except _ODD:
            if self.going_on:
                return self._give_up(BadAnswer("a frame that is not as the API has it"))
            self._sound = False
            return frame

    def _fitted(self, frame: bytes, data: bytes) -> bytes:
        """As it is in the first part, as it should be in a later one. Raises one of `_ODD`."""
        chunk = _chunk.decode(data)
        if not self._head:
            self._head = {name: raw for name, raw in _fields.decode(data).items() if name in _OF_THE_WHOLE}
        if self.going_on:
            return self._rewritten(data, chunk)
        if chunk.choices:
            self._role_said = self._role_said or "role" in chunk.choices[0].delta
            self._read(chunk, self._words(chunk))
        return frame

    def _words(self, chunk: _Chunk) -> str:
        choice = chunk.choices[0]
        if self._request.endpoint == "completions":
            return choice.text or ""
        said = choice.delta.get("content")
        return "" if said is None else _text.decode(said) or ""

    def _read(self, chunk: _Chunk, words: str) -> None:
        """Keeps what was said, and whether there was anything that could not be gone on with."""
        choice = chunk.choices[0]
        beside = [name for name, raw in choice.delta.items() if name not in ("role", "content") and _says(raw)]
        odd = len(chunk.choices) != 1 or choice.index != 0 or choice.logprobs is not None
        self._finished = self._finished or choice.finish_reason is not None
        if words:
            self._pieces.append(words)
            self._frames += 1
            self._bytes += len(words.encode())
        lately = self._tail + words
        self._tail = lately[-_SPLIT:]
        thinks = any(mark in lately for mark in _THINKS)
        if beside or odd or thinks or self._bytes > MOST_BYTES:
            self._sound = False
            self._pieces.clear()

    def _rewritten(self, data: bytes, chunk: _Chunk) -> bytes:
        """A frame of a later part; b"" where it has nothing new to say."""
        fields = {**_fields.decode(data), **self._head}
        if chunk.usage is not None:
            fields["usage"] = Raw(msgspec.json.encode(self._summed(chunk.usage)))
        if chunk.choices:
            choice, words = chunk.choices[0], self._words(chunk)
            fresh = self._without_due(words)
            role = "role" in choice.delta and not self._role_said
            fits = self._choices(fields["choices"], fresh)
            self._read(chunk, fresh)
            if not (fresh or role or choice.finish_reason is not None or self._beside(chunk)):
                return b""
            self._role_said = self._role_said or role
            fields["choices"] = fits
        return b"data: " + msgspec.json.encode(fields) + b"\n\n"

    def _choices(self, raw: Raw, words: str) -> Raw:
        choice, *others = _choices.decode(raw)
        said = Raw(msgspec.json.encode(words))
        if "delta" in choice:
            delta = _fields.decode(choice["delta"])
            if self._role_said:
                delta.pop("role", None)
            if "content" in delta and (words or _says(delta["content"])):
                delta["content"] = said
            choice["delta"] = Raw(msgspec.json.encode(delta))
        else:
            choice["text"] = said
        return Raw(msgspec.json.encode([choice, *others]))

    @staticmethod
    def _beside(chunk: _Chunk) -> bool:
        return any(_says(raw) for name, raw in chunk.choices[0].delta.items() if name not in ("role", "content"))

    def _without_due(self, words: str) -> str:
        """Without the white space that the client has already."""
        same = 0
        while same < min(len(words), len(self._due)) and words[same] == self._due[same]:
            same += 1
        if words:
            self._due = self._due[same:] if same == len(words) else ""
        return words[same:]

    def _summed(self, part: dict[str, Any]) -> dict[str, Any]:
        prompt = max(0, int(part.get("prompt_tokens") or 0) - self._before)
        written = int(part.get("completion_tokens") or 0) + self._before
        told = {**part, "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
        details = part.get("prompt_tokens_details")
        if isinstance(details, dict) and details.get("cached_tokens") is not None:
            told["prompt_tokens_details"] = {**details, "cached_tokens": min(int(details["cached_tokens"]), prompt)}
        return told


def _pieces_in(pieces: Sequence[str], end: int) -> int:
    """How many pieces the last `end` characters have a part in: the next worker writes those tokens again."""
    count = 0
    while end > 0:
        count += 1
        end -= len(pieces[-count])
    return count


def _ends(frame: bytes) -> bool:
    """Whether nothing more is to be waited for behind it."""
    data = data_of(frame)
    if data == _DONE or data.startswith(_ERROR):
        return True
    try:
        return any(choice.finish_reason is not None for choice in _chunk.decode(data).choices)
    except _ODD:
        return bool(data)


def _says(raw: Raw) -> bool:
    return bytes(raw) not in _EMPTY
