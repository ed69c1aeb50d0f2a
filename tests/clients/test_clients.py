"""The clients that are at hand where the suite runs. All of them: `make client-test`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.clients.__main__ import FAILED, HELD, MISSING, _tell, main
from tests.clients.matrix import CLIENTS, COLUMNS, Client, Result, table, try_out
from tests.clients.stand import Stand, stand

AT_HAND = [one for one in CLIENTS if one.where == "suite"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.mark.parametrize("client", AT_HAND, ids=lambda one: one.program)
def test_client(made: Stand, client: Client) -> None:
    if client.program == "curl_tool" and shutil.which("curl") is None:
        pytest.skip("no curl")
    results = try_out(client, [sys.executable], made.env)
    assert {one.feature for one in results} == client.offers
    assert [one for one in results if not one.passed] == []


def test_what_a_client_does_not_try_counts_against_it() -> None:
    client = Client("c", "sdks", "no_such_program", frozenset({"chat"}))
    (told,) = try_out(client, [sys.executable], {})
    assert (told.feature, told.passed) == ("chat", False)
    assert "No such file" in told.said


def test_the_table() -> None:
    told = table([Result("a", "chat", True, ""), Result("a", "stream", False, "x"), Result("bb", "chat", True, "")])
    head, *rows = [line.split() for line in told.splitlines()]
    assert head == list(COLUMNS)
    assert [row[:4] for row in rows] == [["a", "ok", "FAIL", "."], ["bb", "ok", ".", "."]]


def test_every_feature_has_its_column() -> None:
    assert frozenset().union(*(one.offers for one in CLIENTS)) == set(COLUMNS)


def test_the_verdict_is_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert _tell([Result("a", "chat", True, "")], []) == HELD
    assert capsys.readouterr().out.endswith("\nHELD: 1 of 1 features\n")
    assert _tell([Result("a", "chat", True, ""), Result("a", "stream", False, "why")], []) == FAILED
    assert capsys.readouterr().out.endswith("FAIL a, stream: why\n\nNOT HELD: 1 of 2 features\n")


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--node", "no-such-node", "--only", "vercel"]) == MISSING
    assert "node is missing" in capsys.readouterr().err
