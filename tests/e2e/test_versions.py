"""Three gateways that share a store, each with a folder of its own: one is edited, all move within two seconds."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.store.embedded import Embedded
from loadtests.simfleet.harness import SimFleet
from loadtests.stack import Gateway, start_gateway
from tests.gateways import KEY, PEPPER, Lane, chat_body, eventually, folder_of, start_lanes, write_folder

LANES = [Lane("chat")]
ADMIN_KEY = "the-key-of-the-operators"
ALL_MOVE_SECONDS = 2.0
NAMES = ("a", "b", "c")


@dataclass(slots=True)
class Replica:
    gateway: Gateway
    folder: Path
    http: httpx.Client
    log: Path

    def ask(self) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json=chat_body("chat"))

    def version(self) -> str:
        answer = self.ask()
        assert answer.status_code == 200
        told: str = answer.headers["x-gateway-policy"]
        return told

    def rewrite(self, **route: Any) -> None:
        """The last rule's route gets these keys."""
        path = self.folder / "routing.yaml"
        content = json.loads(path.read_text())
        content["rules"][-1]["route"].update(route)
        path.write_text(json.dumps(content))

    def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.http.request(
            method, f"/admin/v1/{path}", headers={"x-api-key": ADMIN_KEY, "Authorization": ""}, **more
        )


@dataclass(slots=True)
class Three:
    place: Path
    store: Embedded
    fleet: SimFleet

    @contextmanager
    def replica(self, name: str) -> Iterator[Replica]:
        """On its folder from before, if it lived before."""
        place = self.place / name
        place.mkdir(exist_ok=True)
        folder, log = place / "policies", place / "gateway.log"
        if not folder.exists():
            write_folder(folder, folder_of(LANES, self.fleet))
        env = {"GATEWAY_KEY_PEPPER": PEPPER, "GATEWAY_REDIS_URL": self.store.url, "GATEWAY_ADMIN_KEY": ADMIN_KEY}
        headers = {"Authorization": f"Bearer {KEY}"}
        with (
            start_gateway(folder, place / "data", env=env, log=log) as gateway,
            httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20.0) as http,
        ):
            replica = Replica(gateway, folder, http, log)
            eventually(lambda: replica.ask().status_code == 200, "leases are granted")
            yield replica


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    place = tmp_path_factory.mktemp("three")
    store = Embedded.start(place / "store")
    with redis.Redis(unix_socket_path=store.url.removeprefix("unix://")) as client:
        for backend in ("chat", "chat-api"):
            client.set(f"gw:{{{backend}}}:epoch", 1)  # it has known them for long: leases are granted at once
    with start_lanes(LANES) as fleet:
        yield Three(place, store, fleet)
    store.stop()


def settled(one: Replica) -> dict[str, Any] | None:
    """What it tells of all policies, once it knows of a fault and they do not differ."""
    told: dict[str, Any] = one.admin("GET", "policies").json()
    faulty = any(row["faults"] for row in told["replicas"].values())
    return told if faulty and not told["differ"] and len(told["replicas"]) == len(NAMES) else None


def all_have(replicas: list[Replica], version: str) -> bool:
    return all(one.version() == version for one in replicas)


def test_one_folder_is_edited_and_all_move(three: Three) -> None:
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(three.replica(name)) for name in NAMES)
        before = a.version()
        assert all_have([a, b, c], before)
        with c.http.stream(
            "POST", "/v1/chat/completions", json=chat_body("chat", stream=True, max_tokens=300, ignore_eos=True)
        ) as running:
            lines = running.iter_lines()
            next(lines)
            b.rewrite(attempts=2)
            edited = time.monotonic()
            eventually(lambda: before not in {one.version() for one in (a, b, c)}, "all moved", ALL_MOVE_SECONDS)
            print(f"all three moved after {time.monotonic() - edited:.2f} s")
            assert running.headers["x-gateway-policy"] == before
            assert [line for line in lines if line][-1] == "data: [DONE]", "what was running kept its policy"
        after = b.version()
        assert all_have([a, b, c], after)
        status = a.admin("GET", "status").json()
        assert status["policy"]["from"] == "store"
        assert status["policy"]["version"] == after
        assert status["policy"]["folder"] == before
        assert len(status["replicas"]) == len(NAMES)

        c.gateway.kill()
        a.rewrite(attempts=1)
        eventually(lambda: after not in {one.version() for one in (a, b)}, "those that live moved", ALL_MOVE_SECONDS)
        newest = a.version()
        again = stack.enter_context(three.replica("c"))
        assert again.version() == newest, "it starts with what was announced meanwhile"

        a.rewrite(attempts="many")
        eventually(lambda: a.admin("GET", "status").json()["policy"]["faults"], "the fault is seen", ALL_MOVE_SECONDS)
        told = eventually(lambda: settled(b), "b knows of it, and has forgotten who was killed")
        assert told["in_force"] == newest
        assert all_have([a, b, again], newest)


def test_the_operators_door(three: Three) -> None:
    with three.replica("d") as one:
        assert one.http.get("/admin/v1/status").status_code == 401, "a tenant's key opens nothing here"
        assert one.admin("GET", "status").status_code == 200
        assert one.admin("POST", "policies/reload").json()["changed"], "its folder is an old copy, but somebody asks"
        version = one.version()
        again = one.admin("POST", "policies/reload")
        assert (again.status_code, again.json()["version"], again.json()["changed"]) == (200, version, False)
        one.rewrite(attempts="many")
        bad = one.admin("POST", "policies/reload")
        assert bad.status_code == 422
        assert bad.json()["error"]["code"] == "policy_invalid"
        assert bad.json()["error"]["faults"][0].startswith("routing.yaml:1:")
        assert one.version() == version
        one.rewrite(attempts=3)
        one.gateway.process.send_signal(signal.SIGHUP)
        eventually(lambda: one.version() != version, "a signal reloads", ALL_MOVE_SECONDS)
