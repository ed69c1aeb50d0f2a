"""Which model is where, over HTTP: workers without it, versions side by side, and a move to other GPUs under load."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import httpx

from tests.gateways import WEIGHTS, Lane, Site, eventually

LORA, OLD, NEW = "adapter-of-acme", "weights-v1", "weights-v2"
LANES = [
    Lane("pool", workers=2),
    Lane("spare", workers=2, cloud=False),
    Lane("old", cloud=False, sim={"model": OLD}),
    Lane("new", cloud=False, sim={"model": NEW}),
]
H200 = {"kind": "H200", "usd_per_hour": 3.5}


def read(site: Site, file: str) -> Any:
    return json.loads((site.folder / file).read_text())


def edit(site: Site, file: str, content: Any) -> None:
    before = policy_of(site)
    (site.folder / file).write_text(json.dumps(content))
    eventually(lambda: policy_of(site) != before, "the new policy", 3.0)


def policy_of(site: Site) -> str:
    told: str = site.chat("pool").headers["x-gateway-policy"]
    return told


def add_model(site: Site, name: str, served_by: list[dict[str, Any]], route: dict[str, Any], **keys: Any) -> None:
    rules = read(site, "routing.yaml")
    rules["rules"].append({"name": name, "match": {"model": name}, "route": route})
    models = read(site, "models.yaml")
    models["models"].append({"name": name, "served_by": served_by, **keys})
    (site.folder / "models.yaml").write_text(json.dumps(models))
    edit(site, "routing.yaml", rules)


def join(site: Site, into: str, *others: str) -> None:
    """The workers of the other backends become workers of `into` too, under names of their own."""
    file = read(site, "backends.yaml")
    named = {one["name"]: one for one in file["backends"]}
    for other in others:
        named[into]["upstreams"] += [{**one, "name": f"{into}-{one['name']}"} for one in named[other]["upstreams"]]
    edit(site, "backends.yaml", file)


def test_a_worker_without_the_model_is_asked_once_and_another_one_answers(site: Site) -> None:
    """A caller's model and a model there of our choosing: that 404 is never the caller's."""
    join(site, "old", "new")
    add_model(site, "mine", [{"backend": "old", "as": NEW}], {"backends": ["old"]})
    answers = [site.chat("mine") for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 12
    tried = [[attempt["upstream"] for attempt in site.receipt(answer)["attempts"]] for answer in answers]
    assert {names[-1] for names in tried} == {"old-new-1"}
    assert sum(names[0] == "old-1" for names in tried) <= 2, "then it is known not to have it"
    refused = [one for one in site.fleet.requests("old-1") if one.get("status") == 404]
    assert len(refused) <= 2
    assert site.metric("gateway_upstream_up", upstream="old-1") == 1, "it may serve its other models"


def test_a_model_that_no_worker_has_is_503_and_never_the_engines_404(site: Site) -> None:
    add_model(site, "nowhere", [{"backend": "spare", "as": "not-loaded"}], {"backends": ["spare"]})
    for answer in (site.chat("nowhere"), site.chat("nowhere")):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (503, "no_capacity")
        assert "retry-after" in answer.headers
    assert error["message"] == "rule `nowhere`: no worker that is up has `nowhere` loaded"
    assert site.receipt(answer)["drops"] == {"model_loaded": 2}
    other = site.chat("spare")
    assert other.status_code == 200, "the worker's other models are served"


def test_versions_of_two_workers_each_get_their_sessions(site: Site) -> None:
    versions = [{"name": "v1", "as": OLD, "weight": 50}, {"name": "v2", "as": NEW, "weight": 50}]
    add_model(site, "both", [{"backend": "old", "versions": versions}], {"backends": ["old"]})
    seen: dict[str, Counter[str]] = {}
    for number in range(16):
        session = {"X-Gateway-Session": f"s{number}"}
        for _ in range(2):
            answer = site.chat("both", session)
            assert answer.status_code == 200, answer.text
            receipt = site.receipt(answer)
            assert "version_wanted" not in receipt
            assert {"v1": "old-1", "v2": "old-new-1"}[receipt["version"]] == receipt["chosen"]
            seen.setdefault(f"s{number}", Counter())[receipt["version"]] += 1
    assert all(len(found) == 1 for found in seen.values()), "a session keeps its version"
    assert {name for found in seen.values() for name in found} == {"v1", "v2"}


def test_a_model_moves_to_dedicated_h200s_by_an_edit_of_backends_yaml_alone(site: Site) -> None:
    """While requests for it and for its neighbour go on: none fails, and both end up where they belong."""
    need = {"memory_gb": 140, "gpus": 2}
    file = read(site, "backends.yaml")
    for backend in file["backends"]:
        if backend["name"] == "pool":
            for one in backend["upstreams"]:
                one.update(gpus=2)
                one.pop("gpu_index", None)
    edit(site, "backends.yaml", file)
    add_model(
        site, "guest", [{"backend": "pool", "as": WEIGHTS}], {"backends": ["pool"], "max_wait": "10s"}, needs=need
    )
    known = eventually(lambda: site.chat("guest").status_code == 200, "it is served by the shared workers")
    assert known
    chosen: list[tuple[str, int, str, str]] = []
    stop = threading.Event()

    def ask(model: str) -> None:
        with httpx.Client(base_url=site.gateway.url, headers=site.http.headers, trust_env=False, timeout=20) as http:
            while not stop.is_set():
                body = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
                answer = http.post("/v1/chat/completions", json=body)
                head = answer.headers
                chosen.append((model, answer.status_code, head.get("x-gateway-upstream", ""), head["x-gateway-policy"]))

    clients = [threading.Thread(target=ask, args=(model,)) for model in ("pool", "guest", "guest")]
    for client in clients:
        client.start()
    try:
        eventually(lambda: len(chosen) > 50, "traffic")
        (spare,) = (one for one in file["backends"] if one["name"] == "spare")
        (shared,) = (one for one in file["backends"] if one["name"] == "pool")
        for one in shared["upstreams"]:
            one["models"] = ["pool"]
        shared["upstreams"] += [
            {"name": f"h200-{n}", "url": one["url"], "gpu": H200, "gpus": 2, "models": ["guest"]}
            for n, one in enumerate(spare["upstreams"])
        ]
        edit(site, "backends.yaml", file)
        after = policy_of(site)
        arrived = len(chosen)
        eventually(lambda: len(chosen) > arrived + 100, "traffic under the new policy")
    finally:
        stop.set()
        for client in clients:
            client.join(20)
    assert {status for _, status, _, _ in chosen} == {200}
    where = {
        model: {up for one, _, up, under in chosen if (one, under) == (model, after)} for model in ("pool", "guest")
    }
    assert where == {"pool": {"pool-1", "pool-2"}, "guest": {"h200-0", "h200-1"}}
    assert {up for one, _, up, under in chosen if one == "guest" and under != after} <= {"pool-1", "pool-2"}
