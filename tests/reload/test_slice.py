"""Two seconds of the reload test, and that it would see what it is there to see."""

from __future__ import annotations

import json

import pytest

from loadtests.reload.__main__ import main
from loadtests.reload.letters import judge
from loadtests.soak.wire import Answer

VERSIONS = {"1": "a", "2": "b"}


def test_a_slice(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--rate", "150", "--seconds", "2", "--every", "0.3"])
    told = capsys.readouterr().out
    assert code == 0, told
    assert told.startswith("300 requests, 0 wrong; ")
    assert told.endswith("reload: no request failed and none was decided by a mixture\n")


def answer(version: str = "1", status: int = 200, by: str = "a", **changes: str) -> Answer:
    met = {"rule": "rule-a", "backend": "gpu-a", "upstream": "worker-a", **changes}
    headers = {f"x-gateway-{name}": value for name, value in met.items()} | {"x-gateway-policy": version}
    body = {"model": changes.get("model", "weights-a"), "choices": [{"message": {"content": by}}]}
    return Answer(status, headers, json.dumps(body).encode(), whole=True)


def test_an_answer_of_one_version() -> None:
    assert judge(answer(), VERSIONS).letter == "a"


@pytest.mark.parametrize(
    "seen",
    [
        answer("2"),
        answer("3"),
        answer(status=503),
        answer(by="b"),
        answer(rule="rule-b"),
        answer(backend="gpu-b"),
        answer(upstream="worker-b"),
        answer(model="weights-b"),
        Answer(fault="the connection ended"),
    ],
)
def test_a_mixture_and_a_failure_are_seen(seen: Answer) -> None:
    verdict = judge(seen, VERSIONS)
    assert verdict.letter is None
    assert verdict.wrong
