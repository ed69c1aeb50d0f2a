"""Whether a worker's 404 says that it does not have the model: then it is about that worker, and not about the request,
whose model and path are of our choosing.

vLLM and NIM write "The model `x` does not exist." with type NotFoundError, SGLang and Ollama "model 'x' not found",
OpenAI's own code is `model_not_found`. Any other 404, such as that of an unknown response id, is the caller's affair.
"""

from __future__ import annotations

import msgspec

STATUS = 404
MODEL_MISSING = "model_not_found"
"""The code, and that of the fault which such an answer becomes."""
_GONE = ("does not exist", "not found", "not loaded")


class _Error(msgspec.Struct):
    code: str | int | None = None
    message: str = ""


class _Nested(msgspec.Struct):
    error: _Error | str


def names_missing_model(status: int, body: bytes, name: str) -> bool:
    """`name`: what the model is called there."""
    if status != STATUS:
        return False
    error = _error_of(body)
    if error is None:
        return False
    if error.code == MODEL_MISSING:
        return True
    said = error.message.lower()
    return "model" in said and name.lower() in said and any(words in said for words in _GONE)


def _error_of(body: bytes) -> _Error | None:
    """OpenAI's shape, or the flat one of SGLang and older vLLMs."""
    try:
        error = msgspec.json.decode(body, type=_Nested).error
        return _Error(message=error) if isinstance(error, str) else error
    except msgspec.DecodeError:
        pass
    try:
        return msgspec.json.decode(body, type=_Error)
    except msgspec.DecodeError:
        return None
