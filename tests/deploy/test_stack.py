"""The services of docker-compose.yml run, as processes: requests through the balancer, both replicas, drain."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from ops.compose import prepare
from tests.deploy.standin import Standin, addresses
from tests.deploy.written import OPS
from tests.gateways import eventually

pytestmark = [
    pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx, the balancer"),
    pytest.mark.timeout(180),
]
RUN = ["simfleet", "simproviders", "valkey", "gateway-1", "gateway-2", "balancer"]
GATEWAYS = ("gateway-1", "gateway-2")
WORKERS, UPSTREAMS = 8, 11
PATIENT = 20.0
Stack = dict[str, Standin]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("compose")
    made.chmod(0o755)
    shutil.copytree(OPS / "policies", made / "policies", ignore=shutil.ignore_patterns("tenants.yaml"))
    prepare.prepare(made)
    return made


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    given = {path.name: path.read_text() for path in (folder / "secrets").iterdir()}
    given["GATEWAY_LEDGER_URL"] = "none"  # PostgreSQL is not among them
    at = addresses(RUN)
    with contextlib.ExitStack() as ends:
        made = {name: Standin(name, folder, at, given) for name in RUN}
        for name in RUN:
            made[name].start()
            ends.callback(_end, made[name])
            if name == "valkey":
                eventually(lambda: answers(made), "the store answers", PATIENT)
            elif name == "balancer":
                eventually(lambda: balances(made), "the balancer answers", PATIENT)
            elif name not in GATEWAYS:
                made[name].until_healthy()
        for name in GATEWAYS:
            made[name].until_healthy()
        yield made


def _end(one: Standin) -> None:
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


def answers(stack: Stack) -> bool:
    """The store, to who has its password."""
    (password,) = re.findall("requirepass (.*)", stack["valkey"].secret("valkey_auth.conf"))
    with redis.Redis(host=stack["valkey"].address, password=password) as store:
        try:
            return bool(store.ping())
        except redis.exceptions.ConnectionError:
            return False


def balances(stack: Stack) -> bool:
    try:
        return asked(f"{balancer(stack)}/-/balancer").status_code == httpx.codes.NO_CONTENT
    except httpx.TransportError:
        return False


def balancer(stack: Stack) -> str:
    return f"http://{stack['balancer'].address}:8080"


def asked(url: str, key: str = "") -> httpx.Response:
    return httpx.get(url, headers={"Authorization": f"Bearer {key}"} if key else {}, trust_env=False)


@pytest.fixture
def client(stack: Stack, folder: Path) -> Iterator[httpx.Client]:
    (key,) = re.findall("GATEWAY_KEY=(.*)", (folder / "secrets" / "load.env").read_text())
    given = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=balancer(stack), headers=given, trust_env=False, timeout=20.0) as made:
        eventually(
            lambda: all(up(stack, name) for name in GATEWAYS if stack[name].running()), "all upstreams up", PATIENT
        )
        # On a new store replicas admit nothing until both have beaten.
        eventually(lambda: made.post("/v1/chat/completions", json=chat(1)).is_success, "admitted", PATIENT)
        yield made


def chat(tokens: int, *, stream: bool = False) -> dict[str, object]:
    said = [{"role": "user", "content": "hello"}]
    return {"model": "llama-3.3-70b", "max_tokens": tokens, "stream": stream, "messages": said}


def served(stack: Stack, name: str) -> float:
    page = asked(f"http://{stack[name].address}:9090/metrics").text
    return sum(float(value) for value in re.findall(r"^gateway_requests_total\{.*?\} (\S+)$", page, re.M))


def rows(stack: Stack, name: str, metric: str = "gateway_upstream_up") -> dict[str, str]:
    page = asked(f"http://{stack[name].address}:9090/metrics").text
    return dict(re.findall(rf'^{metric}\{{.*?upstream="(.*?)"\}} (\S+)$', page, re.M))


def up(stack: Stack, name: str) -> bool:
    """Every worker and every bought API of the policy takes traffic, and every worker's load has been read."""
    read = rows(stack, name, "gateway_upstream_reading_age_seconds")
    return set(rows(stack, name).values()) == {"1.0"} and len(read) == WORKERS


def test_both_replicas_serve_through_the_balancer(stack: Stack, client: httpx.Client) -> None:
    for _ in range(6):
        answer = client.post("/v1/chat/completions", json=chat(2))
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
    assert all(served(stack, name) > 0 for name in GATEWAYS)


def test_nobody_else_is_served_and_operators_are_not_balanced(stack: Stack, client: httpx.Client) -> None:
    stranger = client.post("/v1/chat/completions", json=chat(2), headers={"Authorization": "Bearer somebody"})
    assert stranger.status_code == 401
    assert client.get("/metrics").status_code == 404
    assert client.get("/admin/v1/status").status_code == 404


def test_the_admin_key_is_the_one_of_the_file(stack: Stack, folder: Path) -> None:
    url = f"http://{stack['gateway-1'].address}:9090/admin/v1/status"
    key = (folder / "secrets" / "GATEWAY_ADMIN_KEY").read_text()
    assert asked(url, key).status_code == 200
    assert asked(url, "other").status_code in (401, 403)


def test_the_fleet_is_up_by_its_containers_names(stack: Stack, client: httpx.Client) -> None:
    assert [len(rows(stack, name)) for name in GATEWAYS] == [UPSTREAMS, UPSTREAMS]
    bought = f"http://{stack['simproviders'].address}:9005/v1/models"
    assert asked(bought, prepare.SIMULATED_KEY).is_success


def test_no_secret_is_in_a_command_a_variable_or_a_log(stack: Stack, folder: Path) -> None:
    kept = [path.read_text().strip() for path in (folder / "secrets").iterdir() if path.name != "provider_key"]
    for one in stack.values():
        shown = " ".join([*one.argv(), *one.environ().values(), one.said()])
        assert not any(secret in shown for secret in kept), one.name


def test_a_replica_that_goes_ends_its_stream_and_the_other_serves(stack: Stack, client: httpx.Client) -> None:
    """Last: it ends both."""
    before = {name: served(stack, name) for name in GATEWAYS}
    with client.stream("POST", "/v1/chat/completions", json=chat(40, stream=True)) as stream:
        chunks = stream.iter_lines()
        assert next(chunks).startswith("data: ")
        inside = [name for name in GATEWAYS if busy(stack, name)]
        assert len(inside) == 1
        going = stack[inside[0]]
        going.ask_to_end()
        assert client.post("/v1/chat/completions", json=chat(2)).status_code == 200
        lines = [line for line in chunks if line]
    assert lines[-1] == "data: [DONE]"
    assert going.stop() == 0, going.said()
    (other,) = set(GATEWAYS) - {going.name}
    assert served(stack, other) > before[other]
    assert [stack[name].stop() for name in (other, "balancer", "valkey")] == [0, 0, 0]


def busy(stack: Stack, name: str) -> bool:
    page = asked(f"http://{stack[name].address}:9090/metrics").text
    return re.findall(r"^gateway_requests_in_flight (\S+)$", page, re.M) != ["0.0"]
