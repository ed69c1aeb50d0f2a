"""An error answer, before an API gives it its shape."""

from __future__ import annotations

from collections.abc import Iterable

from .exchange import Header


class Refusal(Exception):
    """An error answer. `code` is the API's own: an integer for vLLM, a word or null for OpenAI."""

    def __init__(
        self,
        status: int,
        message: str,
        type: str,
        code: int | str | None,
        *,
        param: str | None = None,
        headers: Iterable[Header] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields: dict[str, object] = {"message": message, "type": type, "param": param, "code": code}
        self.headers = tuple(headers)

    def wrapped(self) -> dict[str, object]:
        """OpenAI's shape, and vLLM's."""
        return {"error": self.fields}

    def anthropic(self) -> dict[str, object]:
        """The shape of /v1/messages."""
        return {"type": "error", "error": {key: self.fields[key] for key in ("type", "message")}}
