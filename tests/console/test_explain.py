"""`POST /explain` on a running gateway: the story of this instant, and nothing happens by asking."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from click.testing import CliRunner

from gateway.__main__ import cli
from gateway.app import create_app
from gateway.console.explain import read
from gateway.edge.deadline import Patience
from gateway.edge.protocol import protocol
from gateway.errors import InvalidRequest
from gateway.settings import Settings
from loadtests.simfleet.harness import SimFleet
from tests.gateways import KEY, PEPPER, Lane, chat_body, eventually, folder_of, start_lanes, write_folder

LANES = (
    Lane("chat", workers=2, seats=1, route={"spill": {"backends": ["chat-api"], "budget_usd_per_hour": 5}}),
    Lane(
        "shared",
        route={"spill": {"backends": ["shared-api"], "max_share": 0.5, "when": {"predicted_wait_ms": "> 60000"}}},
    ),
    Lane("patient", seats=1, route={"max_wait": "20s", "spill": {"backends": ["patient-api"]}}),
)
CHAT = "/v1/chat/completions"
ASKED = {"tenant": "acme", "body": chat_body("chat")}


@pytest.fixture(scope="module")
def fleet() -> Iterator[SimFleet]:
    with start_lanes(LANES) as running:
        yield running


@pytest.fixture(scope="module")
def http(fleet: SimFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A gateway of this process without an admin key, so that this host may ask; the client sends a tenant's key."""
    place = tmp_path_factory.mktemp("explain")
    write_folder(place / "policies", folder_of(LANES, fleet))
    settings = Settings(policies=place / "policies", data_dir=place / "data", key_pepper=PEPPER)  # type: ignore[arg-type]
    with running(create_app(settings)) as port:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=20.0
        ) as client:
            eventually(lambda: client.get("/readyz").is_success, "a ready gateway")
            yield client


@contextmanager
def running(app: Any) -> Iterator[int]:
    config = uvicorn.Config(
        app, loop="uvloop", http=protocol(Patience()), ws="none", interface="asgi3", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def explained(http: httpx.Client, **asked: Any) -> dict[str, Any]:
    answer = http.post("/admin/v1/explain", json={**ASKED, **asked})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_an_idle_fleet_serves_at_home_and_asking_leaves_no_trace(http: httpx.Client, fleet: SimFleet) -> None:
    before = [fleet.requests(server.name) for server in (*fleet.workers, *fleet.managed)]
    told = explained(http)
    assert (told["result"]["outcome"], told["rule"]) == ("local", "chat")
    assert told["request"]["tenant"] == "acme"
    assert "budget: $0 of $5 spent in the last hour" in told["notes"]
    assert [fleet.requests(server.name) for server in (*fleet.workers, *fleet.managed)] == before
    assert max(row["load"] for row in explained(http)["upstreams"]) == 0


def test_a_full_fleet_spills_by_its_real_leases(http: httpx.Client) -> None:
    body = chat_body("chat", stream=True, max_tokens=4000, ignore_eos=True)
    with ExitStack() as stack:
        opened = []
        for _ in range(2):
            answer = stack.enter_context(http.stream("POST", CHAT, json=body))
            lines = answer.iter_lines()
            next(lines)
            opened.append(lines)
        told = eventually(
            lambda: (found := explained(http))["result"].get("outcome") == "spilled" and found, "leases that are seen"
        )
        assert all(row["load"] > 0 and not row["room"] for row in told["upstreams"][:2])
        assert "if chat-1 held one request less (1 of 1 seats are taken): local -> chat-1" in [
            change["text"] for change in told["changes"]
        ]
        local = explained(http, headers={"X-Data-Residency": "local"})
        assert local["rule"] == "chat-flagged"
        assert local["result"]["waits"] > 0, "it waits for the work that is leased there"
        assert local["result"]["otherwise"]["code"] == "fleet_saturated"


def test_a_wait_that_is_told_is_the_wait_that_follows(http: httpx.Client) -> None:
    occupied = chat_body("patient", stream=True, max_tokens=300, ignore_eos=True)
    with http.stream("POST", CHAT, json=occupied) as running:
        lines = running.iter_lines()
        next(lines)
        asked = {"body": chat_body("patient", max_tokens=5)}
        told = eventually(
            lambda: (found := explained(http, **asked))["result"].get("waits") and found, "a lease that is seen"
        )
        answer = http.post(CHAT, json=asked["body"])
    assert (told["result"]["outcome"], told["result"]["upstream"]) == ("local", "patient-1")
    assert told["result"]["otherwise"]["outcome"] == "spilled"
    assert answer.headers["x-gateway-outcome"] == "local"
    receipt = http.get(f"/v1/gateway/receipts/{answer.headers['x-request-id']}").json()
    assert receipt["times"]["queue_ms"] > 0


def test_signals_of_this_instant(http: httpx.Client) -> None:
    (one,) = explained(http, body=chat_body("shared"))["thresholds"]
    assert (one["value"], one["holds"]) == (0.0, False)
    assert one["text"] == "predicted_wait_ms > 60000: 0 now, does not hold"


def test_what_was_bought_shows_in_the_budget(http: httpx.Client) -> None:
    eventually(lambda: not any(row["inflight"] for row in explained(http)["upstreams"]), "no lease of another test")
    occupied = chat_body("chat", stream=True, max_tokens=4000, ignore_eos=True)
    with http.stream("POST", CHAT, json=occupied), http.stream("POST", CHAT, json=occupied):
        bought = http.post(CHAT, json=chat_body("chat", max_tokens=200))
    assert bought.headers["x-gateway-outcome"] == "spilled"
    eventually(
        lambda: any(note.startswith("budget: $0.0") for note in explained(http)["notes"]), "what was spent is told"
    )


def test_who_left_is_counted_as_the_bound_counts(http: httpx.Client) -> None:
    note = "share: 0 of its 1 requests left lately, 50% may"
    assert note in explained(http, body=chat_body("shared"))["notes"]


def test_a_plain_request_is_asked_as_the_command_asks_it(http: httpx.Client) -> None:
    answer = http.post("/admin/v1/explain", json=chat_body("chat"))
    assert answer.json()["result"]["code"] == "invalid_key"
    assert explained(http)["request"]["endpoint"] == "chat/completions"


def test_the_command_tells_the_live_story(http: httpx.Client) -> None:
    eventually(lambda: not any(row["inflight"] for row in explained(http)["upstreams"]), "no lease of another test")
    command = ["explain", "--url", str(http.base_url), "--request", "-"]
    done = CliRunner().invoke(cli, command, input=json.dumps(ASKED))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("local -> chat-")
    assert "what would change it:" in done.stdout
    assert "\nupstream " in done.stdout
    refused = CliRunner().invoke(cli, command, input=json.dumps(chat_body("chat")))
    assert (refused.exit_code, refused.stdout.startswith("refused: 401 invalid_key: ")) == (1, True)


WRONG: list[tuple[Any, int, str]] = [
    ({}, 400, "body"),
    ({**ASKED, "fleet": {}}, 400, "fleet"),
    ({**ASKED, "tenant": "acne"}, 400, "unknown tenant; did you mean `acme`?"),
    ({**ASKED, "policy": "000000000000"}, 404, "no such policy in force or on trial here"),
    ([], 400, "(body)"),
]


@pytest.mark.parametrize(("asked", "status", "said"), WRONG, ids=[row[2] for row in WRONG])
def test_a_wrong_question(http: httpx.Client, asked: Any, status: int, said: str) -> None:
    answer = http.post("/admin/v1/explain", json=asked)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


def test_a_wrong_body_is_not_quoted() -> None:
    for raw in (b"{SECRET", json.dumps({**ASKED, "headers": {"a": ["SECRET"]}}).encode(), b"\xff", b""):
        with pytest.raises(InvalidRequest) as caught:
            read(raw)
        assert "SECRET" not in caught.value.message


def test_a_request_that_would_be_refused_is_no_error_of_the_asker(http: httpx.Client) -> None:
    told = explained(http, body={"model": "nobody", "messages": []})
    assert (told["result"]["status"], told["changes"]) == (404, [])


def test_the_shape_is_that_of_the_command(http: httpx.Client) -> None:
    assert {"result", "missed", "upstreams", "changes", "thresholds"} <= set(explained(http))
