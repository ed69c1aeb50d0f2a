"""A gateway before scripted workers (tests/scripted.py), under the rules of the test at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.money.keys import hash_key
from loadtests.stack import start_gateway
from tests.gateways import KEY, PEPPER, PRICE, ZONES, Site, eventually, write_folder
from tests.scripted import Play, workers

TOKENS = 30
SAVED_UP = 3
"""Requests that are worth two hedges, with a budget of nine in ten."""
SPEED = {"step_ms": 2.0, "per_seq_ms": 0.1, "per_prompt_token_ms": 0.0005}


class Stage:
    """`play`: what goes wrong with the next requests, and all that came. The last worker is the bought API, if there is
    one."""

    def __init__(self, site: Site, play: Play, count: int) -> None:
        self.site, self.play, self._count = site, play, count
        self.id = ""

    def ask(self, path: str = "chat/completions", headers: Mapping[str, str] | None = None, **more: Any) -> list[str]:
        """The data lines of a streamed answer."""
        answer = self.post(path, headers, stream=True, **more)
        return [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]

    def post(self, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        answer = self.site.http.post(f"/v1/{path}", json=body(path, **more), headers=headers)
        self.id = answer.headers["x-request-id"]
        assert answer.status_code == 200, answer.text
        return answer

    def receipt(self) -> dict[str, Any]:
        return self.site.receipt(self.id)

    def results(self) -> list[str]:
        return [one["result"] for one in self.receipt()["attempts"]]

    def rehearse(self, model: str = "m") -> None:
        """Nobody has a failure to his name from the test before: each worker of ours has answered since. And whoever
        may hedge has saved up for it."""
        self.play.faults.clear()
        self.play.seen.clear()
        while {seen.worker for seen in self.play.seen} < set(range(self._count)) or len(self.play.seen) < SAVED_UP:
            self.ask(model=model, max_tokens=1)
        self.play.seen.clear()

    def audited(self) -> list[str]:
        """Names of the upstreams that its last request was sent to, as the audit has them."""
        lines = [line for path in (self.site.data / "audit").glob("chain-*") for line in path.read_text().splitlines()]
        told = [json.loads(line) for line in lines]
        return [one["upstream"] for one in told if one.get("request") == self.id]


def body(path: str = "chat/completions", **more: Any) -> dict[str, Any]:
    prompt = {"prompt": "hello"} if path == "completions" else {"messages": [{"role": "user", "content": "hello"}]}
    return {"model": "m", "max_tokens": TOKENS, **prompt, **more}


@contextmanager
def stage(
    place: Path, count: int, routes: Mapping[str, Mapping[str, Any]], *, seats: int = 8, bought: bool = False
) -> Iterator[Stage]:
    """`count` workers w0, w1, ... of backend `gpu`, and `api` where one is bought; for each of `routes` a
    model and a rule."""
    with workers(count + bought) as (play, made):
        local = [
            {"name": f"w{number}", "url": one.url, "max_num_seqs": seats, "engine": "vllm"}
            for number, one in enumerate(made[:count])
        ]
        gpu = {"kind": "H100", "usd_per_hour": 2.0}
        backends: list[dict[str, Any]] = [
            {"name": "gpu", "kind": "local", "zone": "onprem", "gpu": gpu, "speed": SPEED, "upstreams": local}
        ]
        served: list[dict[str, Any]] = [{"backend": "gpu", "as": "weights"}]
        if bought:
            account = [{"name": "api", "url": f"{made[-1].url}/v1", "key": "k"}]
            backends.append({"name": "api", "kind": "managed", "zone": "us", "simulated": True, "upstreams": account})
            served.append({"backend": "api", "as": "weights", "price": PRICE})
        files = {
            "backends.yaml": {"zones": ZONES, "backends": backends},
            "models.yaml": {"models": [{"name": name, "modality": "text", "served_by": served} for name in routes]},
            "routing.yaml": {"rules": _rules(routes)},
            "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(PEPPER, KEY)]}]},
        }
        write_folder(place / "policies", files)
        log, headers = place / "gateway.log", {"Authorization": f"Bearer {KEY}"}
        with (
            start_gateway(place / "policies", place / "data", env={"GATEWAY_KEY_PEPPER": PEPPER}, log=log) as gateway,
            httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20.0) as http,
        ):
            site = Site(gateway, None, place / "policies", place / "data", log, http)  # type: ignore[arg-type]
            eventually(lambda: len(site.samples("gateway_upstream_running")) == count, "a reading of every worker")
            yield Stage(site, play, count)


def _rules(routes: Mapping[str, Mapping[str, Any]]) -> Sequence[dict[str, Any]]:
    return [
        {"name": name, "match": {"model": name}, "route": {"backends": ["gpu"], **route}}
        for name, route in routes.items()
    ]


def words(events: list[str], path: str = "chat/completions") -> str:
    chosen = [json.loads(event)["choices"] for event in events if event != "[DONE]"]
    return "".join(
        (each[0]["text"] if path == "completions" else each[0]["delta"].get("content") or "") for each in chosen if each
    )


def normal(events: list[str]) -> list[Any]:
    """Without what no two answers have in common. Every frame has the id and the time of the first."""
    chunks = [event if event == "[DONE]" else json.loads(event) for event in events]
    bodies = [chunk for chunk in chunks if chunk != "[DONE]"]
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in bodies}) == 1
    for chunk in bodies:
        del chunk["id"], chunk["created"]
    return chunks
