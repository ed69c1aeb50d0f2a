"""Every template as the real Helm engine makes it, one option after another."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml
from helm_sdkpy.actions import Configuration
from helm_sdkpy.chart import Lint

from tests.helm.cluster import KUBECONFIG
from tests.helm.rendering import NAMESPACE, Rendered, install
from tests.helm.settings_schema import CHART
from tests.helm.values import POLICIES, REACH, SEVERAL, joined

BASE = ["ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service", "ServiceAccount"]
FOUND = {"discovery": {"services": ["ml", "gpu"], "pools": ["ml"]}}
CLUSTER_API = {"networkPolicy": {"kubernetesApi": {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]}}}


@pytest.fixture(scope="module")
def trial() -> Rendered:
    return install(POLICIES)


@pytest.fixture(scope="module")
def several() -> Rendered:
    return install(SEVERAL)


def egress(rendered: Rendered) -> list[tuple[str, tuple[int, ...]]]:
    """First network of each rule, and its ports."""
    rules = rendered.one("NetworkPolicy")["spec"]["egress"]
    return [
        (rule["to"][0]["ipBlock"]["cidr"], tuple(port["port"] for port in rule.get("ports", ())))
        for rule in rules
        if "ipBlock" in rule["to"][0]
    ]


def ports(rules: list[Any]) -> list[Any]:
    return [port["port"] for rule in rules for port in rule["ports"]]


def test_the_engine_finds_nothing_to_complain_of() -> None:
    config = Configuration(namespace=NAMESPACE, kubeconfig=KUBECONFIG.format(port=1))
    found = asyncio.run(Lint(config).run(str(CHART)))
    assert found["TotalChartsLinted"] == 1
    assert not found["Errors"]
    assert [one for one in found["Messages"] if one["Severity"] > 1] == []


def test_what_there_is_by_default(trial: Rendered) -> None:
    assert trial.kinds() == BASE
    assert trial.one("Deployment")["spec"]["replicas"] == 1
    assert trial.one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert trial.one("ServiceAccount")["automountServiceAccountToken"] is False
    assert "One replica with an embedded store" in trial.notes


def test_the_container_has_no_rights_that_it_does_not_need(trial: Rendered) -> None:
    pod, container = trial.pod, trial.container
    assert container["command"] + container["args"] == ["gateway", "serve"]
    assert container["securityContext"] == {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert set(container["resources"]) == {"requests", "limits"}
    writable = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert writable == {"/var/lib/gateway", "/tmp"}


def test_probes(trial: Rendered) -> None:
    asked = {name: trial.container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/healthz", "port": "http"},
        "liveness": {"path": "/healthz", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }


def test_streams_end_before_the_pod_does() -> None:
    rendered = install(joined(POLICIES, {"drain": {"longestStreamSeconds": 900, "endpointSeconds": 15}}))
    assert rendered.container["lifecycle"]["preStop"] == {"sleep": {"seconds": 15}}
    assert rendered.env["GATEWAY_GRACE_SECONDS"] == "900"
    assert rendered.pod["terminationGracePeriodSeconds"] == 15 + 900 + 10


def test_policies_keep_their_names_and_a_change_restarts_nothing(trial: Rendered) -> None:
    made = trial.one("ConfigMap")
    volume = next(one for one in trial.pod["volumes"] if one["name"] == "policies")["configMap"]
    files = {item["path"]: made["data"][item["key"]] for item in volume["items"]}
    assert files == POLICIES["policies"]
    assert volume["name"] == made["metadata"]["name"]
    assert "annotations" not in trial.one("Deployment")["spec"]["template"]["metadata"]


def test_an_existing_config_map() -> None:
    items = [{"key": "cases.night.yaml", "path": "cases/night.yaml"}]
    rendered = install({"policiesConfigMap": "from-git", "policiesItems": items})
    assert rendered.all("ConfigMap") == []
    volume = next(one for one in rendered.pod["volumes"] if one["name"] == "policies")["configMap"]
    assert volume == {"name": "from-git", "items": items}


def test_services_select_the_pods_and_only_them(trial: Rendered) -> None:
    labels = trial.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    for service in trial.all("Service"):
        assert service["spec"]["selector"].items() <= labels.items()
        assert service["spec"]["selector"]["app.kubernetes.io/component"] == "gateway"
    assert trial.one("Service", "gateway")["spec"]["ports"][0]["targetPort"] == "http"
    admin = trial.one("Service", "gateway-admin")["spec"]
    assert (admin["ports"][0]["port"], admin["ports"][0]["targetPort"]) == (9090, "admin")
    assert trial.env["GATEWAY_ADMIN_PORT"] == "9090"


def test_all_on_one_port() -> None:
    rendered = install(joined(POLICIES, {"ports": {"admin": 0}, "metrics": {"serviceMonitor": {"enabled": True}}}))
    assert len(rendered.all("Service")) == 1
    assert "GATEWAY_ADMIN_PORT" not in rendered.env
    assert ports(rendered.one("NetworkPolicy")["spec"]["ingress"]) == ["http"]
    assert rendered.one("ServiceMonitor")["spec"]["endpoints"][0]["port"] == "http"


def test_several_replicas_share_a_store_and_hold_no_secret(several: Rendered) -> None:
    assert several.one("Deployment")["spec"]["replicas"] == 3
    assert several.one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    for name, at in SEVERAL["secrets"].items():
        assert several.env[name] == {"secretKeyRef": {"name": at["secret"], "key": at["key"]}}
    assert several.all("Secret") == []
    assert "is not set" not in several.notes


def test_settings_are_written_as_they_were_meant() -> None:
    settings = {"GATEWAY_RESULT_BYTES": 268435456, "GATEWAY_TRACE_RATIO": 0.01, "GATEWAY_ARTEFACTS_OWN": True}
    rendered = install(joined(POLICIES, {"settings": settings, "env": {"OTEL_SERVICE_NAME": "gw"}}))
    assert rendered.env["GATEWAY_RESULT_BYTES"] == "268435456"
    assert rendered.env["GATEWAY_TRACE_RATIO"] == "0.01"
    assert rendered.env["GATEWAY_ARTEFACTS_OWN"] == "true"
    assert rendered.env["OTEL_SERVICE_NAME"] == "gw"


def test_folders_that_stay() -> None:
    claims = {name: {"existingClaim": name} for name in ("data", "audit", "artefacts")}
    rendered = install(joined(POLICIES, claims))
    mounts = {one["name"]: one for one in rendered.container["volumeMounts"]}
    assert rendered.env["GATEWAY_DATA_DIR"] == mounts["data"]["mountPath"] + "/data"
    assert rendered.env["GATEWAY_AUDIT_DIR"] == mounts["audit"]["mountPath"] + "/$(POD_NAME)"
    assert rendered.env["GATEWAY_ARTEFACTS"] == mounts["artefacts"]["mountPath"] + "/jobs"
    named = {one["name"]: one.get("persistentVolumeClaim") for one in rendered.pod["volumes"]}
    assert {name: claim["claimName"] for name, claim in named.items() if claim} == {name: name for name in claims}


def test_secrets_as_files_are_read_only() -> None:
    rendered = install(joined(POLICIES, {"secretFiles": [{"secret": "worker-tls", "path": "tls"}]}))
    mount = next(one for one in rendered.container["volumeMounts"] if one["name"] == "secret-tls")
    assert (mount["mountPath"], mount["readOnly"]) == ("/run/secrets/tls", True)
    volume = next(one for one in rendered.pod["volumes"] if one["name"] == "secret-tls")
    assert volume["secret"] == {"secretName": "worker-tls", "defaultMode": 0o440}


def test_what_may_be_reached(several: Rendered) -> None:
    rendered = install(joined(SEVERAL, {"networkPolicy": REACH}))
    assert egress(rendered) == [
        ("10.40.0.5/32", (5432,)),
        ("10.20.0.0/16", (8000, 9400)),
        ("10.21.0.0/16", ()),
        ("10.30.0.0/24", (8443,)),
        ("10.50.0.1/32", (443,)),
    ]
    assert "api.gmi-serving.com cannot be reached" in rendered.notes
    policy = several.one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule.get("ports", [{}])[0].get("port") for rule in policy["egress"]] == [53, 6379, 5432]
    assert "from" not in policy["ingress"][0]
    assert policy["ingress"][1]["from"]


def test_air_gapped_reaches_no_bought_api() -> None:
    rendered = install(joined(SEVERAL, {"networkPolicy": REACH | {"cilium": True}, "airGapped": True}))
    reached = [cidr for cidr, _ in egress(rendered)]
    assert "10.30.0.0/24" not in reached
    assert {"10.20.0.0/16", "10.50.0.1/32"} <= set(reached)
    assert rendered.env["GATEWAY_CHAT_URLS"] == "refuse"
    assert "gmi-serving" not in json.dumps(rendered.one("CiliumNetworkPolicy"))
    assert "privatelink" not in json.dumps([rendered.one("CiliumNetworkPolicy"), rendered.one("NetworkPolicy")])


def test_what_workers_fetch_themselves_is_left_to_them() -> None:
    checked = install(joined(POLICIES, {"airGapped": True, "settings": {"GATEWAY_CHAT_URLS": "check"}}))
    assert "by address are left to the workers" in checked.notes
    assert [one["value"] for one in checked.container["env"] if one["name"] == "GATEWAY_CHAT_URLS"] == ["check"]
    assert "GATEWAY_CHAT_URLS" not in install(POLICIES).env


def test_workers_that_are_pods() -> None:
    pods = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ml"}},
        "podSelector": {"matchLabels": {"app": "vllm"}},
    }
    workers = [{"to": [pods, {"podSelector": {}}], "ports": [8000, 9400]}, {"to": [{"podSelector": {}}]}]
    rules = install(joined(POLICIES, {"networkPolicy": {"workers": workers}})).one("NetworkPolicy")["spec"]["egress"]
    assert rules[1:] == [
        {
            "to": [pods, {"podSelector": {}}],
            "ports": [{"protocol": "TCP", "port": 8000}, {"protocol": "TCP", "port": 9400}],
        },
        {"to": [{"podSelector": {}}]},
    ]


def test_dns_where_it_listens() -> None:
    openshift = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}
    local, anywhere = {"ipBlock": {"cidr": "169.254.20.10/32"}}, {"namespaceSelector": {}, "podSelector": {}}
    dns = {"to": [openshift, local, anywhere], "ports": [53, 5353]}
    rendered = install(joined(POLICIES, {"networkPolicy": {"dns": dns, "cilium": True}}))
    (rule,) = rendered.one("NetworkPolicy")["spec"]["egress"]
    assert rule["to"] == dns["to"]
    asked = [(port["protocol"], port["port"]) for port in rule["ports"]]
    assert asked == [("UDP", 53), ("TCP", 53), ("UDP", 5353), ("TCP", 5353)]
    rules = rendered.one("CiliumNetworkPolicy")["spec"]["egress"]
    named = {"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "openshift-dns"}
    exists = [{"key": "k8s:io.kubernetes.pod.namespace", "operator": "Exists"}]
    assert [rule.get("toEndpoints", rule.get("toCIDR")) for rule in rules] == [
        [{"matchLabels": named}],
        ["169.254.20.10/32"],
        [{"matchLabels": {}, "matchExpressions": exists}],
    ]
    assert all([port["port"] for port in rule["toPorts"][0]["ports"]] == ["53", "5353"] for rule in rules)
    none = install(joined(POLICIES, {"networkPolicy": {"dns": {"to": []}}}))
    assert none.one("NetworkPolicy")["spec"].get("egress") is None


def test_for_cilium_a_peer_is_as_narrow_as_it_was_written() -> None:
    several = {"key": "k8s-app", "operator": "In", "values": ["coredns", "kube-dns"]}
    systems = {"key": "system", "operator": "Exists"}
    peers = [
        {"podSelector": {"matchLabels": {"tier": "dns"}, "matchExpressions": [several]}},
        {"namespaceSelector": {"matchExpressions": [systems]}, "podSelector": {"matchExpressions": [several]}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}},
    ]
    rendered = install(joined(POLICIES, {"networkPolicy": {"dns": {"to": peers}, "cilium": True}}))
    rules = rendered.one("CiliumNetworkPolicy")["spec"]["egress"]
    pods = several | {"key": "k8s:k8s-app"}
    assert [rule.get("toEndpoints", rule.get("toCIDRSet")) for rule in rules] == [
        [{"matchLabels": {"k8s:tier": "dns"}, "matchExpressions": [pods]}],
        [
            {
                "matchLabels": {},
                "matchExpressions": [systems | {"key": "k8s:io.cilium.k8s.namespace.labels.system"}, pods],
            }
        ],
        [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}],
    ]


def test_the_kubernetes_api_by_its_name_for_cilium() -> None:
    rendered = install(joined(POLICIES, FOUND, {"networkPolicy": {"cilium": True}}))
    (rule,) = [one for one in rendered.one("CiliumNetworkPolicy")["spec"]["egress"] if "toEntities" in one]
    assert rule["toEntities"] == ["kube-apiserver"]
    assert [port["port"] for port in rule["toPorts"][0]["ports"]] == ["443", "6443"]
    plain = install(joined(POLICIES, {"networkPolicy": {"cilium": True}})).one("CiliumNetworkPolicy")["spec"]["egress"]
    assert not any("toEntities" in one for one in plain)


def test_names_for_cilium() -> None:
    rendered = install(joined(SEVERAL, {"networkPolicy": REACH | {"cilium": True}}))
    rules = [rule for rule in rendered.one("CiliumNetworkPolicy")["spec"]["egress"] if "toFQDNs" in rule]
    assert [rule["toFQDNs"] for rule in rules] == [
        [{"matchName": "api.gmi-serving.com"}],
        [{"matchPattern": "*.fal.media"}],
        [{"matchName": "llm.privatelink.example"}],
        [{"matchName": "sso.example.com"}],
    ]
    assert "cannot be reached" not in rendered.notes


def test_the_notes_tell_what_would_not_work() -> None:
    wanted = {"settings": {"GATEWAY_OTLP_ENDPOINT": "http://collector:4318", "GATEWAY_ARTEFACTS": "s3://b/p"}}
    told = install(joined(POLICIES, wanted)).notes
    assert "settings.GATEWAY_OTLP_ENDPOINT: http://collector:4318 cannot be reached" in told
    assert "settings.GATEWAY_ARTEFACTS: s3://b/p cannot be reached" in told
    assert "secrets.GATEWAY_AUDIT_KEY is not set" in told
    beside = {"networkPolicy": {"extraEgress": [{"to": [{"podSelector": {}}]}]}}
    assert "cannot be reached" not in install(joined(POLICIES, wanted, beside)).notes


def test_no_network_policy() -> None:
    assert install(joined(POLICIES, {"networkPolicy": {"enabled": False}})).all("NetworkPolicy") == []


def test_roles_and_a_token_only_for_discovery() -> None:
    rendered = install(joined(POLICIES, FOUND, CLUSTER_API))
    assert rendered.pod["automountServiceAccountToken"] is True
    roles = {one["metadata"]["namespace"]: one["rules"] for one in rendered.all("Role")}
    asked = {space: {rule["resources"][0] for rule in rules} for space, rules in roles.items()}
    assert asked == {"gpu": {"endpointslices"}, "ml": {"endpointslices", "inferencepools", "pods"}}
    assert {verb for rules in roles.values() for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
    for binding in rendered.all("RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "gateway", "namespace": NAMESPACE}]
    assert ("10.0.0.1/32", (443, 6443)) in egress(rendered)


def test_hpa_by_work_in_flight() -> None:
    rendered = install(joined(SEVERAL, {"autoscaling": {"kind": "hpa", "inFlightPerReplica": 150}}))
    scaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert scaler["metrics"][0]["pods"] == {
        "metric": {"name": "gateway_requests_in_flight"},
        "target": {"type": "AverageValue", "averageValue": "150"},
    }
    assert scaler["scaleTargetRef"]["name"] == rendered.one("Deployment")["metadata"]["name"]
    assert "replicas" not in rendered.one("Deployment")["spec"]


def test_keda_by_work_in_flight() -> None:
    keda = {"kind": "keda", "keda": {"prometheus": "http://prometheus.monitoring:9090"}}
    rendered = install(joined(SEVERAL, {"autoscaling": keda, "metrics": {"serviceMonitor": {"enabled": True}}}))
    (trigger,) = rendered.one("ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"] == {
        "serverAddress": "http://prometheus.monitoring:9090",
        "query": 'sum(gateway_requests_in_flight{namespace="ai",service="gateway-admin"})',
        "threshold": "200",
        "ignoreNullValues": "false",
    }
    assert rendered.all("HorizontalPodAutoscaler") == []
    assert "replicas" not in rendered.one("Deployment")["spec"]


def test_disruptions_and_topology(several: Rendered) -> None:
    assert several.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert install(joined(POLICIES, {"podDisruptionBudget": {"enabled": False}})).all("PodDisruptionBudget") == []
    labels = several.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    spread = several.pod["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert all(one["labelSelector"]["matchLabels"].items() <= labels.items() for one in spread)


def test_an_ingress_leads_to_v1_alone() -> None:
    wanted = {"enabled": True, "className": "nginx", "host": "llm.example.com", "tlsSecret": "llm-tls"}
    ingress = install(joined(POLICIES, {"ingress": wanted})).one("Ingress")["spec"]
    assert ingress["tls"] == [{"hosts": ["llm.example.com"], "secretName": "llm-tls"}]
    (path,) = ingress["rules"][0]["http"]["paths"]
    assert (path["path"], path["backend"]["service"]["name"]) == ("/v1", "gateway")
    plain = install(joined(POLICIES, {"ingress": wanted | {"tlsSecret": ""}})).one("Ingress")["spec"]
    assert "tls" not in plain


def test_a_route_of_the_gateway_api_has_no_deadline() -> None:
    wanted = {"enabled": True, "parentRefs": [{"name": "edge", "namespace": "infra"}], "hostnames": ["llm.example.com"]}
    route = install(joined(POLICIES, {"httpRoute": wanted, "service": {"port": 8000}})).one("HTTPRoute")["spec"]
    (rule,) = route["rules"]
    assert rule["backendRefs"] == [{"name": "gateway", "port": 8000}]
    assert rule["timeouts"]["request"] == "0s"


def test_monitoring() -> None:
    wanted = {name: {"enabled": True} for name in ("serviceMonitor", "rules", "dashboards")}
    rendered = install(joined(POLICIES, {"metrics": wanted}))
    monitor = rendered.one("ServiceMonitor")["spec"]
    assert monitor["endpoints"] == [{"port": "admin", "path": "/metrics", "interval": "15s"}]
    assert (
        monitor["selector"]["matchLabels"].items()
        <= rendered.one("Service", "gateway-admin")["metadata"]["labels"].items()
    )
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert rendered.one("PrometheusRule")["spec"] == rules
    page = {"rules": {"enabled": True, "runbooks": "https://docs.example.com/runbooks/#"}}
    told = install(joined(POLICIES, {"metrics": page})).one("PrometheusRule")["spec"]
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["annotations"]["runbook_url"] = f"https://docs.example.com/runbooks/#{rule['alert'].lower()}"
    assert told == rules
    boards = {name for one in rendered.all("ConfigMap") for name in one["data"] if name.endswith(".json")}
    assert boards == {path.name for path in (CHART / "files" / "dashboards").glob("*.json")}


def test_agents_tell_the_gateway_of_their_machine() -> None:
    wanted = {"enabled": True, "token": {"secret": "gateway", "key": "agent-token"}, "nodeSelector": {"gpu": "true"}}
    rendered = install(joined(POLICIES, {"agent": wanted}))
    pod = rendered.one("DaemonSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == [
        *("agent", "--url", "http://gateway-admin:9090", "--host", "$(NODE_NAME)"),
        *("--token-file", "/run/secrets/agent/agent-token"),
    ]
    assert pod["volumes"][0]["secret"]["secretName"] == "gateway"
    labels = rendered.one("DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert not rendered.one("Service", "gateway")["spec"]["selector"].items() <= labels.items()


def test_names_and_images() -> None:
    digest = "sha256:" + "0" * 64
    rendered = install(joined(POLICIES, {"image": {"digest": digest}, "fullnameOverride": "router"}))
    assert rendered.container["image"] == f"hybrid-router-gateway@{digest}"
    assert rendered.one("Deployment")["metadata"]["name"] == "router"
    assert {one["metadata"]["name"] for one in rendered.all("Service")} == {"router", "router-admin"}
