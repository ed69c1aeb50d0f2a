"""What `make prove-residency` says with its exit status: it did not hold, or it could not be run."""

from __future__ import annotations

from pathlib import Path
from random import Random

import httpx
import pytest

from loadtests.residency import __main__ as command
from loadtests.residency import media_http, media_site
from loadtests.residency.page import TEXT_PART
from loadtests.residency.run import Tally
from loadtests.simfleet.harness import SimFault
from loadtests.stack import StackFault
from tests.upstreams.http1.rawserver import OK, RawServer, always

NOTHING_INSIDE = ("--count", "0", "--processes", "1", "--http", "1")
RUNNING = b'{"state": "running", "artefacts": []}'


def ends_with(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> int:
    def over_http(_place: Path, _seed: int, _count: int) -> dict[str, Tally]:
        raise fault

    monkeypatch.setattr(command, "_over_http", over_http)
    return command.main(NOTHING_INSIDE)


@pytest.mark.parametrize(
    "fault",
    [SimFault("no fleet"), ExceptionGroup("", [ExceptionGroup("", [StackFault("no gateway")]), OSError(28, "full")])],
)
def test_what_is_missing_is_named(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(monkeypatch, fault) == 2
    said = capsys.readouterr().err
    assert said in (
        "make prove-residency: SimFault: no fleet\n",
        "make prove-residency: StackFault: no gateway\nmake prove-residency: OSError: [Errno 28] full\n",
    )


@pytest.mark.parametrize("with_others", [[], [StackFault("no gateway")]])
def test_a_fault_of_the_proof_is_never_taken_for_something_missing(
    with_others: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        ends_with(monkeypatch, ExceptionGroup("", [KeyError("id"), *with_others]))
    assert raised.group_contains(KeyError)
    assert not raised.group_contains(StackFault)


async def test_a_job_that_never_ends_is_found_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_http, "END_SECONDS", 0.2)
    sent, tally = media_site.make(Random(1), "films", "m-1"), Tally()
    async with RawServer(always(OK + b"Content-Length: %d\r\n\r\n" % len(RUNNING) + RUNNING)) as gateway:
        proof = media_http._Proof(tmp_path, "redis://nowhere", Random(1), 1)
        proof._ports = [gateway.port]
        async with httpx.AsyncClient(trust_env=False) as http:
            await proof._follow(http, "job_7", sent, "m-1", tally)
    assert tally.counts["forbidden"] == 1
    assert tally.forbidden[0].startswith("job_7 was running")


def test_what_was_found_ends_with_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = Tally()
    found.found("job_7 was running when it should have ended")
    monkeypatch.setattr(command, "_over_http", lambda *_: {TEXT_PART: found})
    assert command.main(NOTHING_INSIDE) == 1
    assert "job_7" in capsys.readouterr().out
