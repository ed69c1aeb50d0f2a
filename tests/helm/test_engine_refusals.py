"""Values that would not do what they say are refused by the engine, with a sentence that says where."""

from __future__ import annotations

import pytest

from tests.helm.rendering import refusal
from tests.helm.values import POLICIES, SEVERAL, Values, joined

SECRET = "sk-0123456789-in-the-clear"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 3}, "replica"),
        ({"replicas": 0}, "/replicas"),
        ({"ports": {"http": 70000}}, "/ports/http"),
        ({"secrets": {"GATEWAY_ADMIN_KEY": SECRET}}, "/secrets/GATEWAY_ADMIN_KEY"),
        ({"secrets": {"GMI_API_KEY": {"secret": "s", "key": "k", "value": SECRET}}}, "/secrets/GMI_API_KEY"),
        ({"secrets": {"GATEWAY_ADMIN_KEYS": {"secret": "s", "key": "k"}}}, "GATEWAY_ADMIN_KEYS"),
        ({"settings": {"GATEWAY_ADMIN_KEY": SECRET}}, "GATEWAY_ADMIN_KEY"),
        ({"settings": {"GATEWAY_PORT": 80}}, "GATEWAY_PORT"),
        ({"settings": {"GATEWAY_LOG_LEVEL": "loud"}}, "/settings/GATEWAY_LOG_LEVEL"),
        ({"settings": {"GATEWAY_TRACE_RATIO": 2}}, "/settings/GATEWAY_TRACE_RATIO"),
        ({"settings": {"GATEWAY_ARTEFACTS": f"s3://user:{SECRET}@bucket/x"}}, "/settings/GATEWAY_ARTEFACTS"),
        ({"env": {"OPENAI_API_KEY": SECRET}}, "/env/OPENAI_API_KEY': value must be 'written under `secrets`"),
        ({"env": {"GATEWAY_ZONE": "eu"}}, "/env/GATEWAY_ZONE': value must be 'written under `settings`"),
        ({"policies": {"../escape.yaml": "x"}}, "../escape.yaml"),
        ({"env": {"HTTPS_PROXY": f"http://user:{SECRET}@proxy:3128"}}, "/env/HTTPS_PROXY"),
        ({"autoscaling": {"kind": "vpa"}}, "/autoscaling/kind"),
        ({"networkPolicy": {"workers": [{"cidr": "10.20.0.0"}]}}, "/networkPolicy/workers/0/cidr"),
        ({"networkPolicy": {"store": {"to": [{}]}}}, "/networkPolicy/store/to/0"),
        ({"networkPolicy": {"workers": [{"ports": [8000]}]}}, "/networkPolicy/workers/0"),
        ({"networkPolicy": {"dns": {"ports": []}}}, "/networkPolicy/dns/ports"),
        ({"metrics": {"rules": {"runbooks": f"https://user:{SECRET}@docs/"}}}, "/metrics/rules/runbooks"),
        ({"drain": {"marginSeconds": 0}}, "/drain/marginSeconds"),
    ],
)
def test_by_the_schema(values: Values, said: str) -> None:
    told = refusal(joined(POLICIES, values))
    assert "values don't meet the specifications of the schema" in told
    assert said in told
    assert SECRET not in told


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "policies: give the files of a policy folder"),
        (POLICIES | {"policiesConfigMap": "x"}, "policiesConfigMap: has no effect beside policies"),
        (POLICIES | {"policiesItems": [{"key": "a", "path": "b.yaml"}]}, "policiesItems: has no effect"),
        (POLICIES | {"replicas": 2}, "secrets.GATEWAY_REDIS_URL: several replicas need a store"),
        (POLICIES | {"settings": {"GATEWAY_TLS_CERT": "/tls/cert"}}, "settings.GATEWAY_TLS_CERT: probes"),
        (
            POLICIES | {"settings": {"GATEWAY_LEAVE_SECONDS": 5}},
            "settings.GATEWAY_LEAVE_SECONDS: drain.endpointSeconds",
        ),
        (
            joined(SEVERAL, {"autoscaling": {"kind": "keda", "keda": {"prometheus": "http://p:9090"}}}),
            "autoscaling.keda.query: the default one",
        ),
        (POLICIES | {"autoscaling": {"kind": "hpa"}}, "secrets.GATEWAY_REDIS_URL"),
        (
            POLICIES | {"replicas": 2, "secrets": {"GATEWAY_REDIS_URL": {"secret": "s", "key": "k"}}},
            "secrets.GATEWAY_LEDGER_URL: several replicas need a ledger",
        ),
        (joined(SEVERAL, {"ledger": {"enabled": False}}), "secrets.GATEWAY_LEDGER_URL: has no effect"),
        (joined(SEVERAL, {"networkPolicy": {"store": {"to": []}}}), "networkPolicy.store.to"),
        (joined(SEVERAL, {"networkPolicy": {"ledger": {"to": []}}}), "networkPolicy.ledger.to"),
        (POLICIES | {"discovery": {"services": ["ml"]}}, "networkPolicy.kubernetesApi.to"),
        (POLICIES | {"networkPolicy": {"cilium": True, "dns": {"to": []}}}, "networkPolicy.dns.to"),
        (POLICIES | {"airGapped": True, "networkPolicy": {"enabled": False}}, "airGapped: nothing holds it"),
        (
            POLICIES | {"airGapped": True, "settings": {"GATEWAY_CHAT_URLS": "fetch"}},
            "settings.GATEWAY_CHAT_URLS: `fetch` beside airGapped",
        ),
        (POLICIES | {"ports": {"admin": 8080}}, "ports.admin: must differ"),
        (joined(SEVERAL, {"autoscaling": {"kind": "keda"}}), "autoscaling.keda.prometheus"),
        (joined(SEVERAL, {"autoscaling": {"kind": "hpa", "minReplicas": 9}}), "autoscaling.minReplicas"),
        (POLICIES | {"ingress": {"enabled": True}}, "ingress.host"),
        (POLICIES | {"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
        (POLICIES | {"agent": {"enabled": True}}, "agent.token"),
        (
            POLICIES | {"artefacts": {"existingClaim": "x"}, "settings": {"GATEWAY_ARTEFACTS": "s3://b/p"}},
            "artefacts.existingClaim",
        ),
    ],
)
def test_by_what_hangs_together(values: Values, said: str) -> None:
    assert said in refusal(values)
