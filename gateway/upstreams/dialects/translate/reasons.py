"""Why an answer ended, both ways."""

from __future__ import annotations

from collections.abc import Mapping

_FOR_CHAT: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_FOR_MESSAGES: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def for_chat(reason: str | None) -> str:
    """`finish_reason` for a `stop_reason`; a word that came later than this table is an end as any other."""
    return _FOR_CHAT.get(reason or "", "stop")


def for_messages(reason: str | None, *, called: bool, matched: str | None) -> tuple[str, str | None]:
    """`stop_reason` and `stop_sequence` for a `finish_reason`. `called`: the answer holds tool calls; where one was
    forced, OpenAI says `stop`. `matched`: the caller's stop sequence, where the engine names it."""
    if reason == "stop" and called:
        return "tool_use", None
    if reason == "stop" and matched is not None:
        return "stop_sequence", matched
    return _FOR_MESSAGES.get(reason or "", "end_turn"), None
