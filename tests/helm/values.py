"""Values that the tests install the chart with, and how two of them become one."""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]
POLICIES: Values = {
    "policies": {
        "backends.yaml": (
            "zones: {site: {}}\n"
            "backends:\n"
            "  - name: workers\n"
            "    kind: local\n"
            "    zone: site\n"
            '    upstreams: [{name: worker, url: "http://127.0.0.1:1", engine: openai}]\n'
        ),
        "models.yaml": "models: [{name: m, served_by: [{backend: workers, as: m}]}]\n",
        "routing.yaml": "rules: [{name: all, route: {backends: [workers]}}]\n",
        "cases/one.yaml": "cases: []\n",
    }
}
"""A folder that compiles; nobody answers at its worker."""
STORE = {"to": [{"podSelector": {"matchLabels": {"app": "valkey"}}}]}
DATABASE = {"to": [{"ipBlock": {"cidr": "10.40.0.5/32"}}]}
SEVERAL: Values = POLICIES | {
    "replicas": 3,
    "secrets": {
        "GATEWAY_REDIS_URL": {"secret": "gateway", "key": "redis-url"},
        "GATEWAY_LEDGER_URL": {"secret": "gateway", "key": "ledger-url"},
        "GATEWAY_ADMIN_KEY": {"secret": "gateway", "key": "admin-key"},
        "GATEWAY_KEY_PEPPER": {"secret": "gateway", "key": "pepper"},
        "GATEWAY_AUDIT_KEY": {"secret": "gateway", "key": "audit-key"},
        "GMI_API_KEY": {"secret": "providers", "key": "gmi"},
    },
    "networkPolicy": {"store": STORE, "ledger": DATABASE},
}
"""A production of three replicas, with a store and a ledger."""
REACH: Values = {
    "workers": [{"cidr": "10.20.0.0/16", "ports": [8000, 9400]}, {"cidr": "10.21.0.0/16", "ports": []}],
    "managed": [
        {"host": "api.gmi-serving.com", "port": 443, "cidrs": []},
        {"host": "*.fal.media", "port": 443, "cidrs": []},
        {"host": "llm.privatelink.example", "port": 8443, "cidrs": ["10.30.0.0/24"]},
    ],
    "services": [{"host": "sso.example.com", "port": 443, "cidrs": ["10.50.0.1/32"]}],
}


def joined(*values: Values) -> Values:
    """Later ones win; mappings are joined key by key, as Helm does it."""
    made: Values = {}
    for one in values:
        for key, value in one.items():
            old = made.get(key)
            made[key] = joined(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return made
