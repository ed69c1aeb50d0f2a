"""A job's record as the client's end: what is answered to it becomes its artefacts, or its error."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from gateway.edge.account import Account, Attempt
from gateway.edge.job_wire import JobWire
from gateway.edge.replies import NOT_AGAIN
from gateway.errors import ArtefactFault
from gateway.jobs.artefacts import Lies
from gateway.jobs.folder import Folder
from gateway.jobs.record import Job, Try
from gateway.jobs.work import Log, Outcome
from gateway.model import Usage
from gateway.upstreams.client import TooLong
from gateway.upstreams.results import Opened, OrderLost
from tests.edge.test_job_views import of

MOST, HERE = 1 << 16, Lies(own=True, zone=None)


class Record:
    """`jobs.work.Log` without a store."""

    def __init__(self, job: Job) -> None:
        self.job, self.stopped = job, None

    async def intent(self, one: Try) -> None: ...
    async def ticket(self, ticket: str) -> None: ...
    async def progress(self, percent: int) -> None: ...
    async def tried(self, result: str) -> None: ...


class Made:
    """`upstreams.results.Results` of an order: media type, name and bytes of each, or what keeps them from coming."""

    def __init__(self, *given: tuple[str, str, bytes], fault: Exception | None = None) -> None:
        self._given, self._fault = given, fault

    async def each(self, keep: Any) -> list[Any]:
        kept = [await keep(Opened(name, kind, len(data), _one(data))) for kind, name, data in self._given]
        if self._fault is not None:
            raise self._fault
        return kept


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def wire(place: Path, endpoint: str = "videos") -> JobWire:
    log: Log = Record(of(endpoint=endpoint))  # type: ignore[assignment]
    return JobWire(log, Folder(place, MOST), MOST, HERE)


def pictures(*data: Any, **more: Any) -> bytes:
    return json.dumps({"created": 1, "data": list(data), **more}).encode()


def picture(data: bytes = b"png") -> dict[str, str]:
    return {"b64_json": b64encode(data).decode()}


async def test_pictures_of_a_whole_answer_are_kept(tmp_path: Path) -> None:
    for streamed in (False, True):
        one = wire(tmp_path, "images/generations")
        body = pictures(picture(b"a"), picture(b"bb"), output_format="webp")
        if streamed:
            one.begin(200, [], body[:10])
            one.write(body[10:])
            one.finish()
        else:
            one.answer(200, [], body)
        ended = await one.outcome()
        assert ended.state == "succeeded"
        said = [(made.name, made.media_type, made.size) for made in ended.artefacts]
        assert said == [("image-0", "image/webp", 1), ("image-1", "image/webp", 2)]


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"no json", "artefact_unavailable"),
        (200, pictures(), "artefact_unavailable"),
        (200, pictures({"b64_json": "***"}), "artefact_unavailable"),
        (200, pictures({"url": "http://127.0.0.1/x.png"}), "artefact_unavailable"),
        (200, pictures(picture(bytes(MOST + 1))), "artefact_too_large"),
        (400, b'{"error": {"code": "invalid_request", "message": "no"}}', "invalid_request"),
        (502, b"<html>", "upstream_error"),
        (503, b'{"error": {"code": "no_capacity", "message": "later"}}', "no_capacity"),
    ],
)
async def test_what_is_no_result_is_an_error(tmp_path: Path, status: int, body: bytes, code: str) -> None:
    one = wire(tmp_path, "images/generations")
    one.answer(status, [], body)
    assert one.busy is (code == "no_capacity")
    one.answer(status, [NOT_AGAIN], body)
    assert not one.busy, "a bought API may have it"
    ended = await one.outcome()
    assert (ended.state, ended.error and ended.error[0]) == ("failed", code)


async def test_nothing_at_all_is_an_error_too(tmp_path: Path) -> None:
    ended = await wire(tmp_path).outcome()
    assert (ended.state, ended.error and ended.error[0]) == ("failed", "internal_error")
    cut = wire(tmp_path)
    cut.begin(200, [], b"{")
    cut.cut()
    assert (await cut.outcome()) == Outcome.failed("artefact_unavailable", "the answer broke off")


async def test_results_of_an_order_have_names_of_ours(tmp_path: Path) -> None:
    one = wire(tmp_path)
    given = [
        ("video/mp4", "video", b"1"),
        ("image/jpeg", "", b"2"),
        ("video/mp4", "../up", b"3"),
        ("video/mp4", "video", b"4"),
    ]
    await one.take(Usage(0, 0, seconds=5.0), Made(*given))  # type: ignore[arg-type]
    ended = await one.outcome()
    assert [made.name for made in ended.artefacts] == ["video", "thumbnail", "video-2", "video-3"]
    assert ended.seconds == 5.0


@pytest.mark.parametrize("local", [True, False])
async def test_what_cannot_be_had_is_made_again_by_workers_of_ours_alone(tmp_path: Path, local: bool) -> None:
    one = wire(tmp_path)
    one._local = local
    lost = Made(fault=OrderLost("made, and then: gone"))
    if local:
        with pytest.raises(OrderLost):
            await one.take(Usage(0, 0), lost)  # type: ignore[arg-type]
    else:
        await one.take(Usage(0, 0), lost)  # type: ignore[arg-type]
        assert (await one.outcome()).error == (ArtefactFault.UNAVAILABLE, "made, and then: gone")


async def test_what_is_too_large_is_not_made_again(tmp_path: Path) -> None:
    one = wire(tmp_path)
    one._local = True
    lost = OrderLost("made, and then: a file of more than 5 bytes")
    lost.__cause__ = TooLong("a file of more than 5 bytes")
    await one.take(Usage(0, 0), Made(fault=lost))  # type: ignore[arg-type]
    assert ((await one.outcome()).error or ("", ""))[0] == ArtefactFault.TOO_LARGE


BOUGHT = Try(attempt="a1", upstream="api", backend="b", managed=True, at=1.0)


@pytest.mark.parametrize(
    ("one", "attempt", "unknown"),
    [
        (BOUGHT, {}, True),
        (BOUGHT, {"free": True}, False),
        (BOUGHT, {"status": 500}, False),
        (BOUGHT, {"id": "a2"}, False),
        (msgspec.structs.replace(BOUGHT, ticket="t"), {}, False),
        (msgspec.structs.replace(BOUGHT, managed=False), {}, False),
        (msgspec.structs.replace(BOUGHT, result="Reset"), {}, False),
    ],
    ids=["no answer", "never left", "refused", "another", "has a ticket", "our own", "over"],
)
def test_a_bought_order_without_an_answer_is_unknown(
    tmp_path: Path, one: Try, attempt: dict[str, Any], unknown: bool
) -> None:
    wire = JobWire(cast("Log", Record(of(tries=(one,)))), Folder(tmp_path, MOST), MOST, HERE)
    assert not wire.unknown, "nobody was asked"
    asked: dict[str, Any] = {"upstream": "api", "id": "a1", "began": 1.0, "free": False}
    wire.account = cast("Account", SimpleNamespace(attempts=[Attempt(**asked | attempt)]))
    assert wire.unknown is unknown


def test_its_own_deadline_is_told_from_other_ends(tmp_path: Path) -> None:
    one = wire(tmp_path)
    assert not one.late
    for code, late in (("deadline_exceeded", True), ("upstream_error", False)):
        one.answer(504, [], json.dumps({"error": {"code": code, "message": "x"}}).encode())
        assert one.late is late
