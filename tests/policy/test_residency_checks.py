"""Which rules could only ever send flagged traffic where it may not go, and which request is named."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from gateway.policy.residency_checks import residency_faults, residency_warnings
from gateway.policy.routing_checks import rule_faults
from gateway.policy.sources import Sources, read_sources

from .good import HASH, folder

ZONES = {"fra": {"within": ["de"]}, "de": {"within": ["eu"]}, "us": {}}
PRICE = {"input_per_1m": 1, "output_per_1m": 1}
FLAGGED = {"name": "flagged", "match": {"residency": "any"}, "route": {"backends": ["gpu"]}}
SPILL = {"backends": ["gpu"], "spill": {"backends": ["cloud"]}}
PRIVATE = {"backends": ["gpu"], "spill": {"backends": ["private"]}}
EU = {"name": "clinic", "residency": "eu", "keys": [HASH], "tags": ["health"]}
FREE = {"name": "shop", "keys": [HASH.replace("0", "1")]}


def sources(
    rules: list[dict[str, Any]], *tenants: dict[str, Any], model: dict[str, Any] | None = None, **private: Any
) -> Sources:
    backends = [
        {
            "name": "gpu",
            "kind": "local",
            "zone": "fra",
            "networks": ["10.0.0.0/8"],
            "upstreams": [{"name": "g", "url": "http://10.0.0.1"}],
        },
        {"name": "cloud", "kind": "managed", "zone": "us", "upstreams": [{"name": "c", "url": "https://c.test"}]},
        {
            "name": "private",
            "kind": "managed",
            "zone": "de",
            "private_endpoint_in": ["de"],
            "networks": ["10.0.0.0/8"],
            "upstreams": [{"name": "p", "url": "https://p.test"}],
            **private,
        },
    ]
    served = [
        {"backend": one["name"], "as": "m", **({} if one["name"] == "gpu" else {"price": PRICE})} for one in backends
    ]
    models = [{"name": "chat", "modality": "text", "served_by": served, **(model or {})}]
    models.append({"name": "other", "modality": "text", "served_by": served})
    files: dict[str, Any] = {
        "backends.yaml": {"zones": ZONES, "backends": backends},
        "models.yaml": {"models": models},
        "routing.yaml": {"rules": [{"name": f"r{index}", **rule} for index, rule in enumerate(rules)]},
    }
    if tenants:
        files["tenants.yaml"] = {"tenants": list(tenants)}
    read, faults = read_sources(folder({name: json.dumps(content) for name, content in files.items()}))
    assert faults == []
    return read


def faults(*rules: dict[str, Any], tenants: tuple[dict[str, Any], ...] = (), **more: Any) -> list[tuple[str, str]]:
    """(where, the request that is named) of each fault."""
    found = []
    for fault in residency_faults(sources(list(rules), *tenants, **more)):
        named = re.search(r"a request (.*?) meets", fault.text)
        found.append((fault.path, named[1] if named else fault.text.split(": ")[-1]))
    return found


NEVER = [
    ([{"match": {"residency": "any"}, "route": SPILL}], (), "rules[0].route.spill.backends[0]", "Residency: de`"),
    (
        [{"match": {"residency": "local"}, "route": PRIVATE}],
        (),
        "rules[0].route.spill.backends[0]",
        "`X-Data-Residency: local`",
    ),
    (
        [{"match": {"residency": "eu"}, "route": {"backends": ["gpu", "cloud"]}}],
        (),
        "rules[0].route.backends[1]",
        "Residency: de`",
    ),
    (
        [{"match": {"residency": "us"}, "route": {"backends": ["gpu"], "fallback": ["private"]}}],
        (),
        "rules[0].route.fallback[0]",
        "Residency: us`",
    ),
    ([{"route": {**SPILL, "residency": "eu"}}], (), "rules[0].route.spill.backends[0]", "chat"),
    ([{"route": {**PRIVATE, "residency": "local"}}], (), "rules[0].route.spill.backends[0]", "chat"),
    (
        [{"match": {"tenant": "clinic"}, "route": SPILL}],
        (EU, FREE),
        "rules[0].route.spill.backends[0]",
        "of tenant `clinic`",
    ),
    (
        [{"match": {"tags": "health"}, "route": SPILL}],
        (EU, FREE),
        "rules[0].route.spill.backends[0]",
        "of tenant `clinic`",
    ),
    ([{"route": SPILL}], (EU,), "rules[0].route.spill.backends[0]", "of tenant `clinic`"),
    (
        [
            {"match": {"residency": "us"}, "route": {"backends": ["gpu"]}},
            {"match": {"residency": "any"}, "route": SPILL},
        ],
        (),
        "rules[1].route.spill.backends[0]",
        "Residency: de`",
    ),
]


@pytest.mark.parametrize(("rules", "tenants", "where", "request_"), NEVER)
def test_a_backend_that_nothing_of_the_rule_may_reach(
    rules: list[dict[str, Any]], tenants: tuple[dict[str, Any], ...], where: str, request_: str
) -> None:
    (found,) = faults(*rules, tenants=tenants)
    assert found[0] == where
    assert request_ in found[1]


def test_a_model_that_is_flagged_itself() -> None:
    rule = {"match": {"model": "chat"}, "route": SPILL}
    assert faults(rule, model={"residency": "local"}) == [("rules[0].route.spill.backends[0]", "for `chat`")]
    assert faults({"route": SPILL}, model={"residency": "local"}) == [], "the other model may go there"


def test_our_own_workers_that_the_rule_shuts_out() -> None:
    assert faults({"route": {"backends": ["gpu"], "residency": "us"}}) == [
        ("rules[0].route.backends[0]", "nothing could go there; take it out")
    ]


SOUND: list[list[dict[str, Any]]] = [
    [FLAGGED, {"route": SPILL}],
    [{"route": SPILL}],
    [{"match": {"residency": "none"}, "route": SPILL}],
    [{"match": {"residency": "any"}, "route": PRIVATE}],
    [{"match": {"residency": "eu"}, "route": PRIVATE}],
    [{"match": {"residency": "de"}, "route": PRIVATE}, {"match": {"residency": "any"}, "route": {"backends": ["gpu"]}}],
    [{"route": {**PRIVATE, "residency": "eu"}}],
]


@pytest.mark.parametrize("rules", SOUND)
def test_rules_that_are_sound(rules: list[dict[str, Any]]) -> None:
    assert faults(*rules) == []
    assert faults(*rules, tenants=(EU, FREE)) == []


def test_flagged_tenants_are_taken_by_the_rule_above() -> None:
    assert faults(FLAGGED, {"route": SPILL}, tenants=(EU,)) == []
    narrow = {**FLAGGED, "match": {"residency": "any", "stream": True}}
    assert len(faults(narrow, {"route": SPILL}, tenants=(EU,))) == 1, "those that do not stream meet the second one"
    assert faults(narrow, {"match": {"stream": True}, "route": SPILL}, tenants=(EU,)) == []


@pytest.mark.parametrize(
    ("zone", "private", "count"),
    [("us", "de", 1), ("de", "eu", 0), ("eu", "fra", 0), ("fra", "fra", 0), ("de", "us", 1)],
)
def test_a_private_endpoint_that_contradicts_its_zone(zone: str, private: str, count: int) -> None:
    found = faults(FLAGGED, zone=zone, private_endpoint_in=[private])
    assert [where for where, _ in found] == ["backends[2].private_endpoint_in[0]"] * count


def test_a_folder_too_large_to_try_everything_is_not_held_up() -> None:
    """A thousand flagged tenants that never may reach the API: past the bound nothing is said, and soon."""
    tenants = [{**EU, "name": f"t{number}", "keys": [f"{number:064x}"]} for number in range(1000)]
    made = sources([*[{"match": {"priority": "batch"}, "route": SPILL}] * 40], *tenants)
    began = time.process_time()
    assert 0 < len(list(residency_faults(made))) < 40
    assert time.process_time() - began < 20


def test_a_rule_that_flagged_requests_meet_by_the_way_is_worth_a_warning() -> None:
    (warning,) = residency_warnings(sources([{"route": SPILL}]))
    assert warning.path == "rules[0].name"
    assert "a request with `X-Data-Residency: de` meets this rule too, and never goes to `cloud`" in warning.text
    assert list(residency_warnings(sources([FLAGGED, {"route": SPILL}]))) == []
    assert list(residency_warnings(sources([{"match": {"residency": "none"}, "route": SPILL}]))) == []
    assert list(residency_warnings(sources([{"route": {"backends": ["gpu"]}}]))) == []


def test_the_same_condition_above_takes_nothing_for_sure() -> None:
    """Of the fleet a condition reads the workers of its own rule: the same text may hold below and not above."""
    when = "fleet.load < 0.5"
    above = {"match": {"residency": "any", "when": when}, "route": {"backends": ["gpu"]}}
    made = sources([above, {"match": {"when": when}, "route": SPILL}])
    assert [fault.path for fault in residency_warnings(made)] == ["rules[1].name"]
    everything = {"match": {"when": when}, "route": {"backends": ["gpu"]}}
    assert not list(rule_faults(sources([everything, {"match": {"when": when}, "route": SPILL}])))
    assert len(list(rule_faults(sources([{"route": SPILL}, {"match": {"when": when}, "route": SPILL}])))) == 1
