"""The official Anthropic client for Python."""

from __future__ import annotations

import anthropic
from features import ARGUMENTS, HELLO, KEY, LOCAL, MODELS, NOWHERE, URL, WEATHER, full_house, page, raises, run

client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=20.0)
TOOL = {"name": WEATHER["name"], "description": WEATHER["description"], "input_schema": WEATHER["parameters"]}
ASKED = {"model": "chat", "max_tokens": 20, "messages": HELLO}


def messages() -> None:
    answer = client.messages.create(**ASKED)
    assert answer.content[0].text
    assert answer.usage.output_tokens > 0


def stream() -> None:
    with client.messages.stream(**ASKED) as events:
        assert "".join(events.text_stream)
        assert events.get_final_message().usage.output_tokens > 0


def tools() -> None:
    (block,) = client.messages.create(**{**ASKED, "max_tokens": 60}, tools=[TOOL], tool_choice={"type": "any"}).content
    assert (block.name, block.input) == ("weather", ARGUMENTS)


def tokens() -> None:
    assert client.messages.count_tokens(model="chat", messages=HELLO).input_tokens > 0


def models() -> None:
    assert {model.id for model in client.models.list()} == MODELS


def bad_key() -> str:
    with raises(anthropic.AuthenticationError, 401, "authentication_error"):
        client.with_options(api_key="wrong").messages.create(**ASKED)
    return "AuthenticationError"


def full() -> str:
    with raises(anthropic.RateLimitError, 429, "fleet_saturated"):
        client.messages.create(**{**ASKED, "model": "full"})
    return "RateLimitError"


def down() -> str:
    with raises(anthropic.ServiceUnavailableError, 503, "no_capacity"):
        client.messages.create(**{**ASKED, "model": "down"})
    return "ServiceUnavailableError"


def retries() -> None:
    with full_house():
        client.with_options(max_retries=2).messages.create(**{**ASKED, "model": "busy", "max_tokens": 2})


def header() -> None:
    client.messages.create(**ASKED, extra_headers=LOCAL)
    with raises(anthropic.BadRequestError, 400, "residency_unknown"):
        client.with_options(default_headers=NOWHERE).messages.create(**ASKED)


run(
    {
        "messages": messages,
        "stream": stream,
        "tools": tools,
        "tokens": tokens,
        "models": models,
        "401": bad_key,
        "429": full,
        "503": down,
        "retry": retries,
        "header": header,
        "page": page("Anthropic for Python"),
    }
)
