"""Bodies of the admin API."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.requests import Request

from gateway.console.admin import answer_invalid, body, in_our_words, read_named, read_rollout
from gateway.errors import InvalidRequest, NoCapacity, PolicyFault, PolicyInvalid, RequestTooLarge, StoreFault


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"mode": "shadow"}',
        b'{"mode": "all", "files": {}}',
        b'{"mode": "share", "files": {}}',
        b'{"mode": "share", "share": 1.1, "files": {}}',
        b'{"mode": "shadow", "share": 0.1, "files": {}}',
        b'{"mode": "shadow", "files": {"a": 1}}',
        b'{"mode": "shadow", "files": {}, "more": 1}',
    ],
)
def test_what_is_no_rollout(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_rollout(body)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"version": null}', b'{"version": "v", "more": 1}'])
def test_who_stops_or_promotes_names_a_version(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="name the candidate"):
        read_named(body)
    assert read_named(b'{"version": "v"}').version == "v"


def request(*messages: MutableMapping[str, Any]) -> Request:
    left = list(messages)

    async def receive() -> MutableMapping[str, Any]:
        return left.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def piece(content: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


async def test_a_body_in_pieces() -> None:
    assert await body(request(piece(b"ab", True), piece(b"c", False)), 3) == b"abc"


async def test_a_body_that_is_too_large_is_not_read_to_its_end() -> None:
    with pytest.raises(RequestTooLarge):
        await body(request(piece(b"ab", True), piece(b"cd", True)), 3)


async def test_a_body_that_ends_early() -> None:
    with pytest.raises(InvalidRequest):
        await body(request(piece(b"ab", True), {"type": "http.disconnect"}), 3)


async def test_every_fault_is_told() -> None:
    faults = ("routing.yaml:1:1: a: is wrong", "routing.yaml:2:1: b: is wrong")
    answer = await answer_invalid(request(), PolicyInvalid("it does not compile", faults=faults))
    error = json.loads(bytes(answer.body))["error"]
    assert (answer.status_code, error["code"], error["faults"]) == (422, "policy_invalid", list(faults))


def test_a_store_that_is_away_is_a_matter_of_time() -> None:
    with pytest.raises(NoCapacity) as raised, in_our_words():
        raise StoreFault("it is degraded")
    assert raised.value.retry_after


def test_a_policy_that_does_not_compile_is_told_with_its_faults() -> None:
    with pytest.raises(PolicyInvalid) as raised, in_our_words():
        raise PolicyFault(["a", "b"])
    assert raised.value.faults == ("a", "b")
