"""What the store of artefacts promises, of a folder and of a bucket alike; then what is each one's own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.errors import ArtefactFault, StartupFault
from gateway.jobs import place
from gateway.jobs.artefacts import CHUNK, SHARD_SECONDS, Artefacts, Lies, new_id
from gateway.jobs.bucket import Bucket
from gateway.jobs.folder import UNFINISHED, UNFINISHED_SECONDS, Folder
from gateway.jobs.place import lies, open_artefacts
from gateway.model import Demand, Policy
from gateway.settings import Settings
from tests.bucket_server import Bucket as Server
from tests.bucket_server import bucket_server

MOST = 1 << 20
SOON = 1_900_000_000.0
DATA = os.urandom(300_000)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    async with bucket_server() as made:
        monkeypatch.setenv("AWS_ENDPOINT", made.url)
        monkeypatch.setenv("AWS_REGION", "nowhere")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield made


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As of a disk that is full by then: what goes beyond is written in part, and what comes after not at all."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_what_the_disk_took_in_part_is_not_kept(tmp_path: Path) -> None:
    folder = Folder(tmp_path, MOST)
    with files_of_at_most(CHUNK + 10), pytest.raises(ArtefactFault) as caught:
        await folder.put(pieces(DATA[: CHUNK + 20]), SOON, "job 1")
    await folder.aclose()
    assert caught.value.code == ArtefactFault.FULL
    assert files(tmp_path) == []


@pytest.fixture(params=["folder", "bucket"])
async def artefacts(request: pytest.FixtureRequest, tmp_path: Path, server: Server) -> AsyncIterator[Artefacts]:
    made: Artefacts = (
        Folder(tmp_path / "kept", MOST) if request.param == "folder" else Bucket("s3://results/jobs", MOST)
    )
    yield made
    await made.aclose()


def files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


async def pieces(data: bytes, size: int = 7_001) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def breaking() -> AsyncIterator[bytes]:
    yield DATA
    raise ArtefactFault(ArtefactFault.UNAVAILABLE, "the source broke off")


async def whole(artefacts: Artefacts, id: str, offset: int = 0) -> bytes:
    reading = await artefacts.open(id, offset)
    assert reading is not None
    read = b""
    while piece := await reading.read():
        read += piece
    await reading.aclose()
    return read


async def test_what_is_put_is_read(artefacts: Artefacts) -> None:
    stored = await artefacts.put(pieces(DATA), SOON, "a film")
    assert (stored.size, stored.digest) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert await whole(artefacts, stored.id) == DATA
    assert await whole(artefacts, stored.id, 250_000) == DATA[250_000:]
    reading = await artefacts.open(stored.id, 5)
    assert reading is not None
    assert reading.size == len(DATA)
    await reading.aclose()
    assert await artefacts.exists(stored.id)


async def test_what_is_deleted_is_gone(artefacts: Artefacts) -> None:
    stored = await artefacts.put(pieces(DATA), SOON, "a film")
    await artefacts.delete(stored.id)
    await artefacts.delete(stored.id)
    assert await artefacts.open(stored.id) is None
    assert not await artefacts.exists(stored.id)


@pytest.mark.parametrize("id", ["", "../../etc/passwd", "a" * 41, "A" * 42, "0" * 42 + "/x", "0" * 41 + "\n"])
async def test_a_name_that_is_not_ours_is_no_path(artefacts: Artefacts, id: str) -> None:
    for asked in (artefacts.open, artefacts.exists, artefacts.delete):
        with pytest.raises(ArtefactFault, match="no artefact's name"):
            await asked(id)


async def test_too_much_leaves_nothing(artefacts: Artefacts, tmp_path: Path, server: Server) -> None:
    with pytest.raises(ArtefactFault) as raised:
        await artefacts.put(pieces(bytes(MOST + 1), 100_000), SOON, "a film")
    assert raised.value.code == ArtefactFault.TOO_LARGE
    await artefacts.aclose()
    assert files(tmp_path) == []
    assert server.objects == {}


async def test_a_source_that_breaks_leaves_nothing(artefacts: Artefacts, tmp_path: Path, server: Server) -> None:
    with pytest.raises(ArtefactFault, match="broke off"):
        await artefacts.put(breaking(), SOON, "a film")
    await artefacts.aclose()
    assert files(tmp_path) == []
    assert server.objects == {}


async def test_what_has_expired_is_swept(artefacts: Artefacts) -> None:
    old = await artefacts.put(pieces(DATA), SOON, "a film")
    young = await artefacts.put(pieces(DATA), SOON + 2 * SHARD_SECONDS, "a film")
    assert await artefacts.sweep(SOON - 1) == 0
    assert await artefacts.sweep(SOON + SHARD_SECONDS) == 1
    assert not await artefacts.exists(old.id)
    assert await artefacts.exists(young.id)


async def test_a_folder_is_nobody_elses(tmp_path: Path) -> None:
    root = tmp_path / "kept"
    folder = Folder(root, MOST)
    stored = await folder.put(pieces(DATA), SOON, "a film")
    (file,) = files(root)
    assert (file.name, file.stat().st_mode & 0o777) == (stored.id, 0o600)
    assert {path.stat().st_mode & 0o777 for path in (root, *root.iterdir())} == {0o700}


async def test_a_file_is_read_to_its_end_although_it_is_deleted(tmp_path: Path) -> None:
    folder = Folder(tmp_path, MOST)
    stored = await folder.put(pieces(DATA), SOON, "a film")
    reading = await folder.open(stored.id)
    assert reading is not None
    read = bytes(await reading.read())
    assert len(read) == CHUNK
    await folder.delete(stored.id)
    while piece := await reading.read():
        read += piece
    assert read == DATA
    await reading.aclose()
    assert await reading.read() == b"", "closed: the number may be another file's by now"


async def test_one_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    folder, begun = Folder(tmp_path, MOST), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield DATA
        begun.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(folder.put(slow(), SOON, "a film"))
    await begun.wait()
    putting.cancel()
    await asyncio.wait([putting])
    async with asyncio.timeout(5):
        while files(tmp_path):  # noqa: ASYNC110  # a thread removes it
            await asyncio.sleep(0.002)


async def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "kept", MOST, floor=1 << 60)
    with pytest.raises(ArtefactFault, match="less than 1152921504606846976 bytes are free") as raised:
        await folder.put(pieces(DATA), SOON, "a film")
    assert raised.value.code == ArtefactFault.FULL
    await Folder(tmp_path / "kept", MOST, floor=1).room()


async def test_what_nobody_finishes_is_swept(tmp_path: Path) -> None:
    folder = Folder(tmp_path, MOST)
    place = tmp_path / UNFINISHED
    place.mkdir()
    for name, age in (("old", UNFINISHED_SECONDS + 60), ("new", 0)):
        (place / name).touch()
        os.utime(place / name, (time.time() - age,) * 2)
    await folder.sweep(time.time())
    assert [path.name for path in place.iterdir()] == ["new"]


async def test_a_folder_that_fails_does_not_tell_its_path(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).touch()
    with pytest.raises(ArtefactFault) as raised:
        await Folder(tmp_path, MOST).put(pieces(DATA), SOON, "a film")
    assert str(tmp_path) not in raised.value.message
    assert raised.value.code == ArtefactFault.UNAVAILABLE


async def test_a_bucket_is_asked_with_signatures_and_its_faults_are_ours(server: Server) -> None:
    bucket = Bucket("s3://results/jobs", 100 << 20)
    large = os.urandom(11 << 20)
    stored = await bucket.put(pieces(large, 1 << 20), SOON, "a film")
    assert await whole(bucket, stored.id) == large
    assert server.unsigned == 0
    (name,) = server.objects
    assert name == f"/results/jobs/{stored.id[:7]}/{stored.id}"
    server.objects.clear()
    assert await bucket.open(stored.id) is None


POLICY = Policy("v", {"eu": frozenset({"eu"}), "de": frozenset({"de", "eu"})}, {}, {}, {}, (), {}, {}, simulated=False)


@pytest.mark.parametrize(
    ("where", "demand", "admitted"),
    [
        (Lies(True, None), Demand(), True),
        (Lies(True, None), Demand(local=True), True),
        (Lies(False, "de"), Demand(local=True), False),
        (Lies(True, None), Demand(zones=frozenset({"eu"})), False),
        (Lies(True, "de"), Demand(zones=frozenset({"eu"})), True),
        (Lies(False, "de"), Demand(zones=frozenset({"eu"})), True),
        (Lies(True, "eu"), Demand(zones=frozenset({"de"})), False),
        (Lies(True, "unknown"), Demand(zones=frozenset({"de"})), False),
    ],
)
def test_where_data_may_be_kept(where: Lies, demand: Demand, admitted: bool) -> None:
    assert where.admits(demand, POLICY) is admitted


def test_which_store_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unset = Settings(data_dir=tmp_path, zone="de")
    assert isinstance(open_artefacts(unset), Folder)
    assert (tmp_path / "artefacts").is_dir()
    assert lies(unset) == Lies(True, "de")
    assert lies(Settings(data_dir=tmp_path, zone="de", artefacts_zone="eu")) == Lies(True, "eu")
    bucket = Settings(data_dir=tmp_path, zone="de", artefacts="s3://results/jobs")
    assert isinstance(open_artefacts(bucket), Bucket)
    assert lies(bucket) == Lies(False, None)
    with pytest.raises(StartupFault, match="cannot be made"):
        open_artefacts(Settings(artefacts="/proc/nowhere"))
    monkeypatch.setattr(place, "find_spec", lambda _: None)
    with pytest.raises(StartupFault, match=r"extra `s3`"):
        open_artefacts(bucket)


def test_a_name_is_of_the_thing_and_of_its_end() -> None:
    assert new_id(SOON, "a film") == new_id(SOON, "a film")
    assert len({new_id(SOON, "a film"), new_id(SOON, "another"), new_id(SOON + 1, "a film")}) == 3


async def test_what_is_made_once_more_is_one_file(tmp_path: Path) -> None:
    """Also while a process that was believed dead still writes it."""
    folder, begun, go_on = Folder(tmp_path, MOST), asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield DATA
        begun.set()
        await go_on.wait()

    putting = asyncio.create_task(folder.put(slow(), SOON, "a film"))
    await begun.wait()
    first = await folder.put(pieces(DATA), SOON, "a film")
    go_on.set()
    assert await putting == first
    assert [file.name for file in files(tmp_path)] == [first.id]
    assert await whole(folder, first.id) == DATA
