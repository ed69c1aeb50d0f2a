"""What a good folder becomes."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from itertools import permutations
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import pytest

from gateway.errors import PolicyFault
from gateway.model import (
    CLASSES,
    MICRO_PER_USD,
    Damp,
    Demand,
    EndpointName,
    Match,
    Model,
    Price,
    PriorityClass,
    Served,
    Slo,
    Speed,
    Spill,
    Tenant,
    Threshold,
    Timeouts,
    Window,
)
from gateway.policy.compile import compile_folder
from gateway.policy.money_schema import BudgetIn
from gateway.policy.quotas import quotas_of
from gateway.policy.words import KnownField
from gateway.routing.fields import NEUTRAL
from gateway.routing.priors import prior_limit_us, speed_of

from .good import ENV, GOOD, HASH, SECRET, changed, compiled

A = "tenant acme: usd per "
B, M, R, T = "backends.yaml", "models.yaml", "routing.yaml", "tenants.yaml"


def test_a_worker_has_what_is_written_and_priors_for_the_rest() -> None:
    first, second = compiled().backends["h100"]
    assert (first.name, first.backend, first.kind, first.zone, first.dialect) == (
        "h100-1",
        "h100",
        "local",
        "fra",
        "openai",
    )
    assert (first.url, first.engine, first.dcgm) == ("http://10.20.0.11:8000", "vllm", "http://10.20.0.11:9400/metrics")
    assert (first.hostname, first.gpus, first.usd_per_hour) == ("node-1", (0, 1), 4.0)
    assert (first.speed, first.seats) == (speed_of("H100"), 128)
    assert first.limit == prior_limit_us(speed_of("H100"), 128)
    assert first.networks == (ip_network("10.20.0.0/16"),)
    assert (second.url, second.seats, second.limit) == ("http://10.20.0.12:8000", 256, 4_500_000)
    assert (second.gpus, second.usd_per_hour, second.engine) == (None, 2.0, "auto")


def test_found_workers_have_gpus_too() -> None:
    more = "    discover: {service: ml/llama}\n    worker: {dcgm: 'http://{host}:9400/metrics', gpu_index: [0, 1]}\n"
    made = compiled(changed("backends.yaml", "    kind: local\n", f"    kind: local\n{more}"))
    pattern = made.discovery["h100"].pattern
    assert (pattern.dcgm, pattern.gpus, pattern.hardware.count) == ("http://{host}:9400/metrics", (0, 1), 2)


def test_a_managed_account_is_counted_in_requests() -> None:
    policy = compiled()
    (account,) = policy.backends["gmi"]
    assert (account.kind, account.zone, account.seats, account.limit) == ("managed", "us", 50, 50)
    assert (account.key, account.networks, account.private_in) == (SECRET, (), frozenset())
    assert policy.upstreams["gmi"] is account
    assert not policy.simulated
    assert SECRET not in repr(policy)


def test_what_a_backend_speaks_is_its_own_word_or_that_of_its_kind() -> None:
    said = compiled(
        changed(B, "    gpu: {kind: H100", "    endpoints: [chat/completions, messages]\n    gpu: {kind: H100")
    )
    assert [one.endpoints for one in said.backends["h100"]] == [frozenset({"chat/completions", "messages"})] * 2
    assert said.backends["gmi"][0].endpoints is None


@pytest.mark.parametrize("endpoint", get_args(EndpointName))
def test_a_rule_may_match_any_endpoint(endpoint: str) -> None:
    match = 'match: {model: "llama-*", tenant: acme'
    policy = compiled(changed(R, match, f"{match}, endpoint: {endpoint}"))
    assert policy.rules[1].match.endpoint == (endpoint,)


def test_rules_take_from_defaults_what_they_do_not_say() -> None:
    flagged, chat, rest = compiled().rules
    assert flagged.match == Match(residency="any")
    assert (flagged.backends, flagged.max_wait, flagged.spill) == (("h100",), 20.0, None)
    assert flagged.timeouts == Timeouts(connect=0.5)
    assert flagged.timeouts_said == ("connect",)
    assert chat.match == Match(model=("llama-*",), tenant=("acme",))
    assert (chat.slo, chat.max_wait, chat.attempts) == (Slo(1.0, 0.04, 0.95), 0.0, 3)
    assert chat.spill == Spill(
        ("gmi",),
        40.0,
        (
            Threshold("queue_depth", above=True, inclusive=False, value=8.0),
            Threshold("gpu_util", above=True, inclusive=True, value=0.95),
            Threshold("kv_util", above=True, inclusive=False, value=0.1),
        ),
    )
    assert chat.on_fields == {"n": "refuse"}
    assert (rest.attempts, rest.max_wait) == (2, 20.0)
    assert rest.residency == Demand(local=True, zones=frozenset({"eu"}))


def test_null_in_a_rule_switches_a_default_off() -> None:
    spilling = changed(R, "  timeouts: {connect: 500ms}", "  spill: {backends: [gmi]}")
    off = {**spilling, R: spilling[R].replace("{max_wait: 20s}", "{spill: null}")}
    assert [rule.spill is None for rule in compiled(off).rules] == [True, False, False]
    assert [rule.max_wait for rule in compiled(off).rules] == [20.0, 0.0, 0.0]


def test_models_zones_and_tenants() -> None:
    policy = compiled()
    assert policy.models == {
        "llama-3.3-70b": Model(
            "llama-3.3-70b",
            "text",
            (Served("h100", "meta-llama/Llama-3.3-70B-Instruct"), Served("gmi", "llama-big", Price.of(0.25, 0.75))),
        )
    }
    assert policy.zones == {"fra": {"fra", "de", "eu"}, "de": {"de"}, "eu": {"eu"}, "us": {"us"}}
    assert policy.tenants == {"acme": Tenant("acme", ("llama-*",), Demand(zones=frozenset({"eu"})), "standard")}
    assert policy.keys == {HASH: replace(policy.tenants["acme"], key=HASH[:12])}


def test_containment_of_zones_is_transitive() -> None:
    zones = compiled(changed(B, "  us: {}", "  de: {within: [dach]}\n  us: {}")).zones
    assert zones["fra"] == {"fra", "de", "eu", "dach"}
    assert zones["de"] == {"de", "dach"}


DURATIONS = [("20s", 20.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3600.0), ("0", 0.0), ("1.5", 1.5), ("0.25s", 0.25)]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations(text: str, seconds: float) -> None:
    assert compiled(changed(R, "max_wait: 20s", f"max_wait: {text}")).rules[0].max_wait == seconds


def test_speed_replaces_the_prior_and_labels_alone_count_gpus() -> None:
    slow = "    speed: {step_ms: 42, per_seq_ms: 0.5, per_prompt_token_ms: 0.04}\n    networks"
    files = changed(B, "    networks", slow)
    worker = compiled({**files, B: files[B].replace("        gpus: 2\n", "")}).upstreams["h100-1"]
    assert worker.speed == Speed(42.0, 0.5, 0.04)
    assert worker.limit == prior_limit_us(Speed(42.0, 0.5, 0.04), 128)
    assert worker.usd_per_hour == 4.0


LOOPBACK = """\
zones: {here: {}}
backends:
  - {name: h100, kind: local, zone: here, upstreams: [{name: w, url: "http://localhost:9001"}]}
  - {name: gmi, kind: managed, zone: here, simulated: true, private_endpoint_in: [here],
     upstreams: [{name: sim, url: "http://[::1]:9201/v1", key: sim-key}]}
"""
DEMO = "tenants: [{name: acme, demo: true}]\n"


def test_loopback_needs_no_networks_and_only_simulated_apis_allow_the_demo_key() -> None:
    rest = {M: GOOD[M], R: GOOD[R].replace("local, eu", "local"), T: DEMO}
    policy = compiled({B: LOOPBACK, **rest}, env={})
    assert policy.simulated
    assert policy.keys == {"demo": policy.tenants["acme"]}
    assert policy.upstreams["sim"].key == "sim-key"
    assert policy.upstreams["sim"].private_in == {"here"}
    assert policy.upstreams["w"].networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def test_without_an_environment_secrets_stay_unresolved() -> None:
    assert compiled(env=None).upstreams["gmi"].key is None


def test_the_version_names_the_content_and_nothing_else() -> None:
    version = compiled().version
    assert len(version) == 12
    assert version == compiled(dict(reversed(GOOD.items())), env=None).version
    assert version != compiled({**GOOD, R: GOOD[R] + "# a comment\n"}).version


def test_a_policy_cannot_be_changed() -> None:
    policy = compiled()
    for name in ("zones", "backends", "upstreams", "models", "tenants", "keys"):
        assert name in {field.name for field in fields(policy)}
        with pytest.raises(TypeError):
            getattr(policy, name)["new"] = None


def test_the_known_fields_are_those_that_routing_knows() -> None:
    assert set(get_args(KnownField)) == set(NEUTRAL)


def test_a_folder_that_is_not_there_is_a_fault_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(PolicyFault, match=r"backends\.yaml:1:1: \(file\): is missing"):
        compile_folder(tmp_path / "nowhere", ENV)


WIDE = """
  - name: night-batch
    match:
      model: ["llama-*", "llama-3*"]
      priority: [batch, standard]
      tags: [research]
      residency: eu
      prompt_tokens: {min: 10, max: 8000}
      output_tokens: {max: 500}
      headers: {X-Team: "blue*"}
      time: {days: [sat, sun], from: "22:00", to: "06:00", timezone: Europe/Berlin}
    route:
      use: careful
      objective: {cost: 1.0, latency: 0.5}
      scorers: {prefix: 2, load: 0}
      filters: {gpu_util: "< 0.95", headroom: "> 0.1"}
      picker: power_of_two
      classes: {batch: {share: 0.5, spill: false}}
      max_cost_usd: 0.5
      spill: {backends: [gmi], order: cheapest, max_share: 0.2, when: {predicted_wait_ms: "> 500", price_usd: "< 0.01"}}
      damp: {enter: 1.1, exit: 0.8, dwell: 5s}
      on_stale: hold
"""
NAMED = """named:
  careful: {use: slow, attempts: 1}
  slow: {max_wait: 90s, attempts: 7, slo: {total_ms: 60000}}
rules:
"""


def test_every_key_of_the_language_arrives() -> None:
    tagged = changed(T, "    models:", "    tags: [research]\n    models:")
    inside = "zone: eu\n    private_endpoint_in: [eu]\n    networks: [10.30.0.0/16]\n    dialect"
    private = GOOD[B].replace("zone: us\n    dialect", inside)  # else residency would let nothing of that rule spill
    written = tagged | {B: private, R: GOOD[R].replace("rules:\n", f"{NAMED}{WIDE}", 1)}
    rule, acme = compiled(written).rules[0], compiled(written).tenants["acme"]
    weekend = Window(frozenset({5, 6}), 22 * 60, 6 * 60, ZoneInfo("Europe/Berlin"))
    assert rule.match == Match(
        model=("llama-*", "llama-3*"),
        tags=frozenset({"research"}),
        residency="eu",
        priority=("batch", "standard"),
        prompt_tokens=(10, 8000),
        output_tokens=(None, 500),
        headers=(("x-team", "blue*"),),
        time=(weekend,),
    )
    assert acme.tags == {"research"}
    assert (rule.attempts, rule.max_wait, rule.slo.total) == (1, 90.0, 60.0)  # nearest first: careful, slow, defaults
    assert rule.ranked
    assert dict(rule.scorers) == {"price": 1.0, "ttft": 0.5, "wait": 0.25, "prefix": 2.0}
    assert [(t.signal, t.above, t.value) for t in rule.filters] == [("gpu_util", False, 0.95), ("headroom", True, 0.1)]
    assert rule.picker == "power_of_two"
    assert rule.classes == {**CLASSES, "batch": PriorityClass(0.5, spill=False)}
    assert rule.max_cost == 0.5
    assert rule.spill is not None
    assert (rule.spill.order, rule.spill.max_share) == ("cheapest", 0.2)
    assert [t.signal for t in rule.spill.when] == ["predicted_wait_ms", "price_usd"]
    assert (rule.damp, rule.on_stale) == (Damp(1.1, 0.8, 5.0), "hold")
    assert (compiled(written).headers, compiled(written).affine) == ({"x-team"}, True)


def test_a_condition_is_compiled_and_its_headers_are_kept() -> None:
    text = "request.headers['X-Team'] == 'a' && backend.gmi.up > 0"
    written = changed(R, 'match: {model: "llama-*", tenant: acme}', f'match: {{headers: {{X-B: "*"}}, when: "{text}"}}')
    made = compiled(written)
    when = made.rules[1].match.when
    assert when is not None
    assert (when.source, when.reads, when.headers) == (text, {"request.headers", "backend.gmi.up"}, {"x-team"})
    assert made.headers == {"x-team", "x-b"}
    assert made.rules[1].match == compiled(written).rules[1].match, "equal where the texts are"


def test_what_is_not_written_has_the_documented_default() -> None:
    rule, policy = compiled().rules[2], compiled()
    assert (rule.scorers, rule.ranked, rule.filters, rule.picker) == ((("load", 1.0),), False, (), "best")
    assert (rule.damp, rule.on_stale, rule.classes, rule.max_cost) == (Damp(), "degrade", CLASSES, None)
    assert (policy.headers, policy.affine) == (frozenset(), False)


@pytest.mark.parametrize(
    ("file", "listed", "alone"),
    [
        (R, "  backends: [h100]\n  timeouts", "  backends: h100\n  timeouts"),
        (R, "        backends: [gmi]", "        backends: gmi"),
        (B, "networks: [10.20.0.0/16]", "networks: 10.20.0.0/16"),
        (T, f"keys: [{HASH}]", f"keys: {HASH}"),
        (T, 'models: ["llama-*"]', 'models: "llama-*"'),
    ],
)
def test_one_name_stands_for_a_list_of_one(file: str, listed: str, alone: str) -> None:
    assert replace(compiled(changed(file, listed, alone)), version="") == replace(compiled(), version="")


def test_a_key_may_demand_more_than_its_tenant() -> None:
    strict = "f" * 64
    policy = compiled(changed(T, f"[{HASH}]", f"[{HASH}, {{hash: {strict}, residency: local}}]"))
    tenant = policy.tenants["acme"]
    assert policy.keys[HASH] == replace(tenant, key=HASH[:12])
    whole = Demand(local=True, zones=tenant.residency.zones)
    assert policy.keys[strict] == replace(tenant, key=strict[:12], residency=whole)


OIDC = """\
oidc:
  - name: corp
    issuer: https://login.example.com/
    audience: gateway
    algorithms: ES256
    leeway: 5s
    claims: {tenant: org, models: gw_models}
    tenants: {Acme Corp: acme}
    limits: {requests_per_minute: 60}
    budgets: {usd: 2.5, per: day}
"""


def test_issuers_of_tokens() -> None:
    issuer = compiled({**GOOD, T: GOOD[T] + OIDC}).issuers["https://login.example.com/"]
    assert (issuer.name, issuer.audience, issuer.algorithms, issuer.leeway) == ("corp", ("gateway",), ("ES256",), 5.0)
    assert (issuer.jwks_url, issuer.tenant_claim, issuer.tenants) == (None, "org", {"Acme Corp": "acme"})
    assert (issuer.models_claim, issuer.tags_claim) == ("gw_models", None)
    assert [(one.name, one.cap, one.of) for one in issuer.limits] == [
        ("requests_per_minute", 60, "key"),
        ("usd per day", 2_500_000, "key"),
    ]


def test_a_counter_keeps_its_name_when_budgets_of_other_periods_are_written_around_its_own() -> None:
    def names(*written: tuple[Literal["day", "month", "total"], int]) -> dict[int, str]:
        budgets = [BudgetIn(per=per, usd=usd) for per, usd in written]
        return {one.cap // MICRO_PER_USD: one.name for one in quotas_of("tenant", "acme", None, budgets)}

    day, again, month, total = ("day", 1), ("day", 2), ("month", 3), ("total", 4)
    expected = names(day, again, month, total)
    assert expected == {1: f"{A}day", 2: f"{A}day #1", 3: f"{A}month", 4: f"{A}total"}
    for order in permutations((day, again, month, total)):
        if order.index(day) < order.index(again):
            assert names(*order) == expected
    assert names(again, month) == {2: f"{A}day", 3: f"{A}month"}


@pytest.mark.parametrize(
    ("limit", "largest"), [("requests_per_day", 10**12), ("tokens_per_minute", 10**12), ("concurrent", 100_000)]
)
def test_limits_are_as_large_as_large_customers(limit: str, largest: int) -> None:
    def written(amount: int) -> dict[str, str]:
        return changed(T, f"    keys: [{HASH}]\n", f"    keys: [{HASH}]\n    limits: {{{limit}: {amount}}}\n")

    (quota,) = compiled(written(largest)).tenants["acme"].quotas
    assert (quota.name, quota.cap) == (f"tenant acme: {limit}", largest)
    for amount in (0, largest + 1):
        with pytest.raises(PolicyFault, match=limit):
            compiled(written(amount))


@pytest.mark.parametrize("written", ["2030-01-01T00:00:00Z", '"2030-01-01T02:00:00+02:00"'])
def test_a_key_expires_when_it_says(written: str) -> None:
    policy = compiled(changed(T, f"[{HASH}]", f"[{{hash: {HASH}, expires: {written}}}]"))
    assert policy.keys[HASH].expires == datetime(2030, 1, 1, tzinfo=UTC).timestamp()


def test_a_tenant_may_be_there_before_its_keys_are() -> None:
    policy = compiled(changed(T, f"    keys: [{HASH}]\n", ""))
    assert policy.tenants.keys() == {"acme"}
    assert not policy.keys


def test_a_rule_may_look_at_a_tag_that_a_key_alone_has() -> None:
    keyed = changed(T, f"[{HASH}]", f"[{{hash: {HASH}, tags: nightly}}]")
    tagged = GOOD[R].replace('model: "llama-*", tenant', 'model: "llama-*", tags: nightly, tenant')
    assert compiled({**keyed, R: tagged}).keys[HASH].tags == {"nightly"}
