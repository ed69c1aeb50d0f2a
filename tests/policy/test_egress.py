"""Where a folder sends anything: every address that it names is there, with its port, and nothing on loopback."""

from __future__ import annotations

from gateway.policy.egress import Egress, Host, Workers, egress
from gateway.policy.sources import read_sources
from tests.policy.good import GOOD, folder

ZONES = "zones: {fra: {within: [eu]}, us: {}}\nbackends:\n"


def of(backends: str = GOOD["backends.yaml"], **files: str) -> Egress:
    written = {**GOOD, "backends.yaml": backends, **{f"{name}.yaml": text for name, text in files.items()}}
    sources, faults = read_sources(folder(written))
    assert faults == []
    return egress(sources, lambda dialect: ["*.fal.media"] if dialect == "fal" else [])


def local(*rows: str, networks: str = "[10.20.0.0/16]") -> str:
    return ZONES + f"  - {{name: h100, kind: local, zone: fra, networks: {networks}, {', '.join(rows)}}}\n"


def managed(url: str, more: str = "") -> str:
    return ZONES + f"  - {{name: api, kind: managed, zone: us, upstreams: [{{name: a, url: '{url}'}}]{more}}}\n"


def test_workers_with_their_gpu_pages_and_a_bought_api() -> None:
    found = of()
    assert found.workers == (Workers("10.20.0.0/16", (8000, 9400), ("h100",)),)
    assert found.managed == (Host("api.example.com", 443, (), ("gmi",)),)
    assert found.services == ()
    assert found.service_namespaces == found.pool_namespaces == ()


def test_a_gpu_page_elsewhere_is_a_network_of_its_own() -> None:
    row = 'upstreams: [{name: a, url: "http://10.20.0.1:8000", dcgm: "http://10.9.0.1:9400/metrics"}]'
    assert of(local(row)).workers == (
        Workers("10.20.0.0/16", (8000,), ("h100",)),
        Workers("10.9.0.1/32", (9400,), ("h100",)),
    )


def test_workers_that_are_found() -> None:
    page = 'worker: {dcgm: "http://{host}:9400/metrics"}'
    by_name = of(local("discover: [{dns: llama.internal, port: 8000}]", page))
    assert by_name.workers == (Workers("10.20.0.0/16", (8000, 9400), ("h100",)),)
    both = "discover: [{service: ml/llama, port: 8000}, {pool: gpu/llama}, {dns: llama.internal, port: 8000}]"
    any_port = of(local(both))
    assert any_port.workers == (Workers("10.20.0.0/16", (), ("h100",)),)
    assert (any_port.service_namespaces, any_port.pool_namespaces) == (("ml",), ("gpu",))


def test_what_is_on_loopback_leaves_nothing() -> None:
    home = local('upstreams: [{name: a, url: "http://127.0.0.1:9001"}]', networks="[127.0.0.0/8]")
    cloud = managed("http://127.0.0.1:9005/v1", ", simulated: true").removeprefix(ZONES)
    found = of(home + cloud)
    assert (found.workers, found.managed) == ((), ())


def test_where_a_bought_api_is_and_where_its_results_lie() -> None:
    private = managed("https://10.30.0.7/v1", ", networks: [10.30.0.0/16]")
    assert of(private).managed == (Host("10.30.0.7", 443, ("10.30.0.0/16",), ("api",)),)
    assert of(managed("https://10.30.0.7:8443/v1")).managed == (Host("10.30.0.7", 8443, ("10.30.0.7/32",), ("api",)),)
    media = managed("https://queue.fal.run", ", dialect: fal, artefact_hosts: [cdn.example.com]")
    assert [row.host for row in of(media).managed] == ["*.fal.media", "cdn.example.com", "queue.fal.run"]


def test_issuers_and_webhooks() -> None:
    budget = "{usd: 5, per: day, webhook: 'http://10.1.2.3:8080/x'}"
    tenants = f"""\
tenants:
  - {{name: acme, budgets: [{budget}], webhook: {{url: "https://acme.example.com/jobs"}}}}
oidc:
  - {{name: sso, issuer: "https://sso.example.com", audience: [gw], claims: {{tenant: t}}}}
  - name: far
    issuer: "https://far.example.com"
    jwks_url: "https://keys.example.com/j"
    audience: [gw]
    claims: {{tenant: t}}
"""
    shared = "budgets: [{name: all, usd: 9, per: day, webhook: 'https://money.example.com/'}]\n"
    assert of(tenants=tenants, budgets=shared).services == (
        Host("10.1.2.3", 8080, ("10.1.2.3/32",), ("acme",)),
        Host("acme.example.com", 443, (), ("acme",)),
        Host("keys.example.com", 443, (), ("far",)),
        Host("money.example.com", 443, (), ("all",)),
        Host("sso.example.com", 443, (), ("sso",)),
    )
