"""Kinds that Kubernetes' own schemas do not hold: what each must have, and may have, as far as the chart writes it.

From the published types of prometheus-operator v0.8x (`monitoring.coreos.com/v1`), Gateway API v1.x, KEDA 2.x
(`keda.sh/v1alpha1`) and Cilium 1.1x (`cilium.io/v2`). A cluster would drop a key that is not here in silence.
"""

from __future__ import annotations

from typing import Any, Final

Shape = dict[str, Any]
"""Key -> shape, list of one shape, a type, or a tuple of words. A key that ends in `?` may be missing."""
EXPRESSION: Final[Shape] = {"key": str, "operator": ("In", "NotIn", "Exists", "DoesNotExist"), "values?": [str]}
SELECTOR: Final[Shape] = {"matchLabels": dict, "matchExpressions?": [EXPRESSION]}
SCALE_DOWN: Final[Shape] = {
    "stabilizationWindowSeconds": int,
    "policies": [{"type": ("Pods", "Percent"), "value": int, "periodSeconds": int}],
}
BEHAVIOR: Final[Shape] = {"behavior": {"scaleDown": SCALE_DOWN}}
SHAPES: Final[dict[str, tuple[str, Shape]]] = {
    "ServiceMonitor": (
        "monitoring.coreos.com/v1",
        {"selector": SELECTOR, "endpoints": [{"port": str, "path": str, "interval": str}]},
    ),
    "PrometheusRule": (
        "monitoring.coreos.com/v1",
        {
            "groups": [
                {
                    "name": str,
                    "interval?": str,
                    "rules": [
                        {
                            "alert?": str,
                            "record?": str,
                            "expr": str,
                            "for?": str,
                            "keep_firing_for?": str,
                            "labels?": dict,
                            "annotations?": dict,
                        }
                    ],
                }
            ]
        },
    ),
    "HTTPRoute": (
        "gateway.networking.k8s.io/v1",
        {
            "parentRefs": [{"name": str, "namespace?": str, "sectionName?": str, "port?": int}],
            "hostnames?": [str],
            "rules": [
                {
                    "matches": [{"path": {"type": ("PathPrefix", "Exact"), "value": str}}],
                    "timeouts": {"request": str, "backendRequest": str},
                    "backendRefs": [{"name": str, "port": int}],
                }
            ],
        },
    ),
    "ScaledObject": (
        "keda.sh/v1alpha1",
        {
            "scaleTargetRef": {"name": str},
            "minReplicaCount": int,
            "maxReplicaCount": int,
            "cooldownPeriod": int,
            "advanced": {"horizontalPodAutoscalerConfig": BEHAVIOR},
            "triggers": [
                {
                    "type": ("prometheus",),
                    "metricType": ("AverageValue",),
                    "metadata": {"serverAddress": str, "query": str, "threshold": str, "ignoreNullValues": str},
                }
            ],
        },
    ),
    "CiliumNetworkPolicy": (
        "cilium.io/v2",
        {
            "endpointSelector": SELECTOR,
            "egress": [
                {
                    "toEndpoints?": [SELECTOR],
                    "toCIDR?": [str],
                    "toCIDRSet?": [{"cidr": str, "except": [str]}],
                    "toEntities?": [("kube-apiserver",)],
                    "toFQDNs?": [{"matchName?": str, "matchPattern?": str}],
                    "toPorts": [{"ports": [{"port": str, "protocol": ("TCP", "ANY")}], "rules?": {"dns": [dict]}}],
                }
            ],
        },
    ),
}


def check(made: dict[str, Any]) -> bool:
    """Whether `made` is of such a kind. AssertionError, with the place, where its shape is another."""
    if made["kind"] not in SHAPES:
        return False
    version, shape = SHAPES[made["kind"]]
    assert made["apiVersion"] == version
    fits(made["spec"], shape, made["kind"])
    return True


def fits(value: Any, shape: Any, at: str) -> None:
    if isinstance(shape, list):
        assert isinstance(value, list), at
        assert value, at
        for index, one in enumerate(value):
            fits(one, shape[0], f"{at}[{index}]")
    elif isinstance(shape, dict):
        assert isinstance(value, dict), at
        known = {key.rstrip("?") for key in shape}
        assert set(value) <= known, (at, set(value) - known)
        for key, inner in shape.items():
            name = key.rstrip("?")
            assert name in value or key.endswith("?"), f"{at}.{name}"
            if name in value:
                fits(value[name], inner, f"{at}.{name}")
    elif isinstance(shape, tuple):
        assert value in shape, (at, value)
    else:
        assert type(value) is shape, (at, value)
