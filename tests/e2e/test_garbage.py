"""However a request ends, it is freed at once: until the garbage collector came, its body would wait for it."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from gateway.app import create_app
from gateway.edge.deadline import Patience
from gateway.edge.forward import Forward
from gateway.edge.protocol import protocol
from gateway.settings import Settings
from loadtests.simfleet.harness import SimFleet
from loadtests.stack import free_port
from tests.gateways import KEY, PEPPER, Lane, chat_body, eventually, folder_of, start_lanes, write_folder

LANES = [Lane("chat", workers=2, cloud=False), Lane("full", seats=1, cloud=False, route={"max_wait": 0})]


@pytest.fixture(scope="module")
def fleet() -> Iterator[SimFleet]:
    with start_lanes(LANES) as running:
        yield running


@pytest.fixture(scope="module")
def http(fleet: SimFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a gateway that runs in this process, in a thread."""
    place = tmp_path_factory.mktemp("garbage")
    write_folder(place / "policies", folder_of(LANES, fleet))
    settings = Settings(policies=place / "policies", data_dir=place / "data", key_pepper=PEPPER)
    port = free_port()
    config = uvicorn.Config(
        create_app(settings), port=port, loop="uvloop", http=protocol(Patience()), ws="none", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=10) as client:
        eventually(lambda: server.started, "it has started")
        eventually(lambda: client.get("/readyz").status_code == 200, "it is ready")
        yield client
    server.should_exit = True
    thread.join()


@pytest.fixture(autouse=True)
def _nothing_waits_for_the_collector(http: httpx.Client, fleet: SimFleet) -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    deadline = time.monotonic() + 5.0
    while (left := requests()) and time.monotonic() < deadline:
        time.sleep(0.01)
    gc.enable()
    fleet.config(clear=True)
    assert left == 0


def requests() -> int:
    return sum(isinstance(each, Forward) for each in gc.get_objects())


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_answered(http: httpx.Client, stream: bool) -> None:
    assert http.post("/v1/chat/completions", json=chat_body("chat", stream=stream)).status_code == 200


def test_failed_everywhere(http: httpx.Client, fleet: SimFleet) -> None:
    fleet.config(error_rate=1.0)
    assert http.post("/v1/chat/completions", json=chat_body("chat")).status_code == 502


def test_broke_off(http: httpx.Client, fleet: SimFleet) -> None:
    fleet.config(drop_mid_stream={"after_frames": 2})
    answer = http.post("/v1/chat/completions", json=chat_body("chat", stream=True, max_tokens=9, ignore_eos=True))
    assert '"error"' in answer.text


def test_refused(http: httpx.Client) -> None:
    assert http.post("/v1/chat/completions", json=chat_body("nobody")).status_code == 404
    with http.stream(
        "POST", "/v1/chat/completions", json=chat_body("full", stream=True, max_tokens=4000, ignore_eos=True)
    ) as long:
        pieces = long.iter_raw()  # collected, it would close the connection
        next(pieces)
        assert http.post("/v1/chat/completions", json=chat_body("full")).status_code == 429


def test_left(http: httpx.Client) -> None:
    for _ in range(3):
        with http.stream("POST", "/v1/chat/completions", json=chat_body("chat", stream=True, max_tokens=4000)) as long:
            next(long.iter_raw())
