"""A gateway under test: real uvicorn in a child process, a simulated fleet over HTTP, the embedded store.

A `Lane` is one model with backends of its own (local workers, a bought API beside them), so that tests which break
upstreams or fill them do not disturb each other although they share one gateway, one fleet and one policy folder::

    with serve(tmp_path, [Lane("chat", seats=1)]) as site:
        answer = site.chat("chat")                      # model, backend and rule are all called `chat`
        site.fleet.requests("chat-1")                   # what its first worker received
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anthropic
import httpx
import openai
import redis
from prometheus_client.parser import text_string_to_metric_families

from gateway.money.keys import hash_key
from loadtests.simfleet.harness import SimFleet, start
from loadtests.stack import Gateway, start_gateway

T = TypeVar("T")
PEPPER = "pepper-of-the-tests"
KEY, OTHER_KEY, EU_KEY, NARROW_KEY, BATCH_KEY = "key-acme", "key-other", "key-eu", "key-narrow", "key-batch"
TENANTS = {"acme": KEY, "other": OTHER_KEY, "eu-only": EU_KEY, "narrow": NARROW_KEY, "batch": BATCH_KEY}
TENANT_LIMITS = {"eu-only": {"residency": "eu"}, "batch": {"priority": "batch"}}
ZONES = {"onprem": {"within": ["de"]}, "de": {"within": ["eu"]}, "us": {}}
API_KEY = "sim-managed-key"
WEIGHTS = "meta-llama/Llama-3.3-70B-Instruct"
"""The simulated servers' own name of the model."""
PRICE = {"input_per_1m": 0.25, "output_per_1m": 0.75}
STEP_MS, PER_SEQ_MS, PER_PROMPT_TOKEN_MS = 4.0, 0.1, 0.0005
LOCAL = {"X-Data-Residency": "local"}
HASTY = {"X-Gateway-Max-Wait-Ms": "0"}
"""Told at once that there is no room, also where it cannot leave."""
ELSEWHERE = "localhost"
"""A host name instead of an address: what it leads to is known only once it is connected."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The mappings are merged over what is usual: `sim` and `api` into the simulator's values, else into the folder."""

    name: str
    workers: int = 1
    seats: int = 8
    cloud: bool = True
    route: Mapping[str, Any] = field(default_factory=dict)
    flagged: Mapping[str, Any] = field(default_factory=dict)
    backend: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=dict)
    managed: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    sim: Mapping[str, Any] = field(default_factory=dict)
    api: Mapping[str, Any] = field(default_factory=dict)
    host: str = "127.0.0.1"
    accounts: tuple[str, ...] = (API_KEY,)
    """The keys of the accounts at the bought API; the first account is called like the API, then `-2`, `-3`."""

    @property
    def api_name(self) -> str:
        return f"{self.name}-api"

    @property
    def worker_names(self) -> list[str]:
        return [f"{self.name}-{number + 1}" for number in range(self.workers)]


@dataclass(slots=True)
class Site:
    """A running gateway and everything around it. `http` sends the key of tenant `acme`."""

    gateway: Gateway
    fleet: SimFleet
    folder: Path
    data: Path
    log: Path
    http: httpx.Client

    def chat(self, model: str, headers: Mapping[str, str] | None = None, **body: Any) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json=chat_body(model, **body), headers=headers)

    @contextlib.contextmanager
    def stream(
        self, model: str, headers: Mapping[str, str] | None = None, **body: Any
    ) -> Iterator[tuple[httpx.Response, Iterator[str]]]:
        """A streamed answer and its data lines; leaving the block early closes the connection."""
        asked = self.http.stream(
            "POST", "/v1/chat/completions", json=chat_body(model, stream=True, **body), headers=headers
        )
        with asked as answer:
            yield answer, (line.removeprefix("data: ") for line in answer.iter_lines() if line)

    @contextlib.contextmanager
    def occupied(self, model: str, streams: int = 1) -> Iterator[list[str]]:
        """The lane's seats are taken by long streams for as long as the block lasts; gives their request ids. That they
        are left when the block ends the gateway learns a moment later: when their receipts are there."""
        with contextlib.ExitStack() as stack:
            opened, ids = [], []  # a generator of lines that is collected closes its connection
            for _ in range(streams):
                answer, lines = stack.enter_context(self.stream(model, max_tokens=4000, ignore_eos=True))
                next(lines)
                opened.append(lines)
                ids.append(answer.headers["x-request-id"])
                assert answer.headers["x-gateway-outcome"] == "local", dict(answer.headers)
            yield ids

    def sdk(self, key: str = KEY, **options: Any) -> openai.OpenAI:
        """The official client, as it is; use it as a context manager."""
        client = openai.DefaultHttpxClient(trust_env=False)
        given = {"max_retries": 0, "timeout": 20.0, **options}
        return openai.OpenAI(base_url=f"{self.gateway.url}/v1", api_key=key, http_client=client, **given)

    def async_sdk(self, key: str = KEY, **options: Any) -> openai.AsyncOpenAI:
        client = openai.DefaultAsyncHttpxClient(trust_env=False)
        given = {"max_retries": 0, "timeout": 20.0, **options}
        return openai.AsyncOpenAI(base_url=f"{self.gateway.url}/v1", api_key=key, http_client=client, **given)

    def anthropic_sdk(self, key: str = KEY, **options: Any) -> anthropic.Anthropic:
        """Anthropic's official client, as it is; use it as a context manager."""
        client = anthropic.DefaultHttpxClient(trust_env=False)
        given = {"max_retries": 0, "timeout": 20.0, **options}
        return anthropic.Anthropic(base_url=self.gateway.url, api_key=key, http_client=client, **given)

    def receipt(self, answer: httpx.Response | str, key: str = KEY) -> dict[str, Any]:
        """The receipt of an answer (or of a request id), once it is there."""
        name = answer if isinstance(answer, str) else answer.headers["x-request-id"]

        def look() -> dict[str, Any] | None:
            found = self.http.get(f"/v1/gateway/receipts/{name}", headers={"Authorization": f"Bearer {key}"})
            return found.json() if found.status_code == httpx.codes.OK else None

        return eventually(look, f"the receipt of {name}")

    def samples(self, name: str, **labels: str) -> list[float]:
        """The values of one metric's samples with these labels, off the gateway's own page. The other lines, some
        thousands, are not parsed: that would cost more than the requests of most tests."""
        lines = self.http.get("/metrics").text.splitlines(keepends=True)
        wanted = "".join(line for line in lines if line.startswith((f"{name}{{", f"{name} ")))
        return [
            sample.value
            for family in text_string_to_metric_families(wanted)
            for sample in family.samples
            if labels.items() <= sample.labels.items()
        ]

    def metric(self, name: str, **labels: str) -> float | None:
        """The sum of those samples; None where there is none."""
        values = self.samples(name, **labels)
        return sum(values) if values else None

    def leases(self, backend: str) -> int:
        """Leases on a backend, from the store itself."""
        with redis.Redis(unix_socket_path=str(self.data / "store.sock")) as client:
            return lease_count(client, backend)

    def quiet(self, *backends: str) -> None:
        """Waits until no request is in the gateway and no lease is left on these backends."""
        eventually(lambda: self.metric("gateway_requests_in_flight") == 0, "no request in flight")
        for backend in backends:
            eventually(lambda backend=backend: self.leases(backend) == 0, f"no lease on {backend}")  # type: ignore[misc]

    def logged(self) -> str:
        return self.log.read_text()


def lease_count(client: redis.Redis, backend: str) -> int:
    counts: Any = client.hgetall(f"gw:{{{backend}}}:count")
    return sum(int(count) for count in counts.values())


def chat_body(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}], **more}


def eventually(condition: Callable[[], T | None], what: str, within: float = 5.0) -> T:
    """The first truthy value of `condition`. Raises AssertionError where none comes in time."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {within:g} s"
        time.sleep(0.02)
    return value


def start_lanes(lanes: Sequence[Lane], **config: Any) -> SimFleet:
    """The simulated servers of these lanes, in one process: fast, with gauges that do not lag."""
    sim = {"step_ms": STEP_MS, "per_seq_ms": PER_SEQ_MS, "per_prompt_token_ms": PER_PROMPT_TOKEN_MS, "gauge_lag_s": 0.0}
    api = {"ttft_median_s": 0.02, "tokens_per_s": 2000.0, "frames_per_s": 50.0}
    return start(
        seed=3,
        gpus_per_node=1000,
        worker=sim,
        api=api,
        workers=[
            {"name": name, "max_num_seqs": lane.seats, **lane.sim} for lane in lanes for name in lane.worker_names
        ],
        managed=[{"name": lane.api_name, **lane.api} for lane in lanes if lane.cloud],
        **config,
    )


def folder_of(lanes: Sequence[Lane], *fleets: SimFleet) -> dict[str, Any]:
    """The policy folder that describes these lanes on the ports of `fleets`: file name -> content."""
    urls = {server.name: server.url for fleet in fleets for server in (*fleet.workers, *fleet.managed)}
    gpus = {
        server.name: {"dcgm": fleet.dcgm[0].url, "gpu_index": [server.gpu]}
        | ({"metrics": server.metrics} if server.engine == "triton" else {})
        for fleet in fleets
        for server in fleet.workers
    }
    backends, models, rules = [], [], []
    for lane in lanes:
        backends.append(_local(lane, urls, gpus))
        served: list[dict[str, Any]] = [{"backend": lane.name, "as": WEIGHTS}]
        route: dict[str, Any] = {"backends": [lane.name]}
        if lane.cloud:
            backends.append(_managed(lane, urls))
            served.append({"backend": lane.api_name, "as": WEIGHTS, "price": PRICE})
            route["spill"] = {"backends": [lane.api_name]}
        models.append({"name": lane.name, "modality": "text", "served_by": served, **lane.model})
        demanding = {"backends": [lane.name], "max_wait": "20s", **lane.flagged}
        rules += [
            {"name": f"{lane.name}-flagged", "match": {"model": lane.name, "residency": "any"}, "route": demanding},
            {"name": lane.name, "match": {"model": lane.name}, "route": {**route, **lane.route}},
        ]
    return {
        "backends.yaml": {"zones": ZONES, "backends": backends},
        "models.yaml": {"models": models},
        "routing.yaml": {"rules": rules},
        "tenants.yaml": {"tenants": _tenants(lanes)},
    }


def _local(lane: Lane, urls: Mapping[str, str], gpus: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    workers = [
        {
            "name": name,
            "url": urls[name].replace("127.0.0.1", lane.host),
            "max_num_seqs": lane.seats,
            **gpus[name],
            **lane.worker,
        }
        for name in lane.worker_names
    ]
    speed = {"step_ms": STEP_MS, "per_seq_ms": PER_SEQ_MS, "per_prompt_token_ms": PER_PROMPT_TOKEN_MS}
    usual = {"name": lane.name, "kind": "local", "zone": "onprem", "gpu": {"kind": "H100", "usd_per_hour": 2.0}}
    return {**usual, "speed": speed, "upstreams": workers, **lane.backend}


def _managed(lane: Lane, urls: Mapping[str, str]) -> dict[str, Any]:
    accounts = [
        {"name": lane.api_name + (f"-{number + 1}" if number else ""), "url": urls[lane.api_name], "key": key}
        for number, key in enumerate(lane.accounts)
    ]
    usual = {"name": lane.api_name, "kind": "managed", "zone": "us", "simulated": True, "upstreams": accounts}
    return {**usual, **lane.managed}


def _tenants(lanes: Sequence[Lane]) -> list[dict[str, Any]]:
    """`narrow` may use the last lane only."""
    made = [
        {"name": name, "keys": [hash_key(PEPPER, key)], **TENANT_LIMITS.get(name, {})} for name, key in TENANTS.items()
    ]
    return [{**tenant, "models": [lanes[-1].name]} if tenant["name"] == "narrow" else tenant for tenant in made]


def write_folder(folder: Path, files: Mapping[str, Any]) -> None:
    """JSON is YAML too."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1))


@contextlib.contextmanager
def gateway_on(
    fleets: Sequence[SimFleet],
    lanes: Sequence[Lane],
    place: Path,
    env: Mapping[str, str] | None = None,
    written: Callable[[dict[str, Any]], dict[str, Any]] = lambda files: files,
) -> Iterator[Site]:
    """A gateway with folder and store of its own in `place`, in front of running fleets; `Site.fleet` is the first.
    `written` changes what is in the folder."""
    place.mkdir(exist_ok=True)
    folder, data, log = place / "policies", place / "data", place / "gateway.log"
    write_folder(folder, written(folder_of(lanes, *fleets)))
    values = {"GATEWAY_KEY_PEPPER": PEPPER, **(env or {})}
    headers = {"Authorization": f"Bearer {KEY}"}
    with (
        start_gateway(folder, data, env=values, log=log) as gateway,
        httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20.0) as http,
    ):
        site = Site(gateway, fleets[0], folder, data, log, http)
        scraped = sum(
            lane.workers for lane in lanes if lane.worker.get("engine") != "openai" and lane.host != ELSEWHERE
        )
        eventually(lambda: len(site.samples("gateway_upstream_running")) >= scraped, "a reading of every worker")
        yield site


@contextlib.contextmanager
def serve(
    place: Path,
    lanes: Sequence[Lane],
    env: Mapping[str, str] | None = None,
    written: Callable[[dict[str, Any]], dict[str, Any]] = lambda files: files,
) -> Iterator[Site]:
    """A fleet and a gateway in front of it."""
    with start_lanes(lanes) as fleet, gateway_on([fleet], lanes, place, env, written) as site:
        yield site
