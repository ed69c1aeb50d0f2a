"""A stand-in for the Kubernetes API on a port of loopback: discovery documents, and every object that is created.

Nothing exists before it is created, and nothing happens to it then. Helm's own records come as Secrets in protobuf:
they are taken and forgotten. The chart makes no Secret, so there is no other.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

Object = dict[str, Any]
RECORD: Final = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "sh.helm.release"}}
KINDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "v1": (
        ("configmaps", "ConfigMap"),
        ("namespaces", "Namespace"),
        ("pods", "Pod"),
        ("secrets", "Secret"),
        ("serviceaccounts", "ServiceAccount"),
        ("services", "Service"),
    ),
    "apps/v1": (("deployments", "Deployment"), ("daemonsets", "DaemonSet")),
    "autoscaling/v2": (("horizontalpodautoscalers", "HorizontalPodAutoscaler"),),
    "cilium.io/v2": (("ciliumnetworkpolicies", "CiliumNetworkPolicy"),),
    "gateway.networking.k8s.io/v1": (("httproutes", "HTTPRoute"),),
    "keda.sh/v1alpha1": (("scaledobjects", "ScaledObject"),),
    "monitoring.coreos.com/v1": (("prometheusrules", "PrometheusRule"), ("servicemonitors", "ServiceMonitor")),
    "networking.k8s.io/v1": (("ingresses", "Ingress"), ("networkpolicies", "NetworkPolicy")),
    "policy/v1": (("poddisruptionbudgets", "PodDisruptionBudget"),),
    "rbac.authorization.k8s.io/v1": (("rolebindings", "RoleBinding"), ("roles", "Role")),
}
"""Group version -> what can be created of it: plural and kind. Another kind fails the installation."""
CLUSTER_WIDE: Final = frozenset({"Namespace"})
VERSION: Final = {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"}
KUBECONFIG: Final = """\
apiVersion: v1
kind: Config
current-context: recorder
clusters: [{{name: recorder, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: recorder, context: {{cluster: recorder, user: recorder}}}}]
users: [{{name: recorder, user: {{}}}}]
"""


class Recorder(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.created: list[Object] = []

    @property
    def kubeconfig(self) -> str:
        return KUBECONFIG.format(port=self.server_port)


@contextmanager
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self._path()
        if path == "version":
            self._answer(200, VERSION)
        elif path == "api":
            self._answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        elif path == "apis":
            self._answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()})
        elif (made := path.removeprefix("apis/").removeprefix("api/")) in KINDS:
            self._answer(200, resources(made))
        elif path.endswith("/secrets"):
            self._answer(200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []})
        else:
            self._not_there()

    def do_POST(self) -> None:
        raw = self._body()
        if self._path().endswith("/secrets"):
            self._answer(201, RECORD)
            return
        made = json.loads(raw)
        self.server.created.append(made)
        self._answer(201, made)

    def do_PUT(self) -> None:
        """Helm's record again, now that all is deployed."""
        self._body()
        self._answer(200, RECORD)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _path(self) -> str:
        return self.path.partition("?")[0].strip("/")

    def _not_there(self) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        self._answer(404, status | {"message": "not found"})

    def _answer(self, status: int, body: Object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def groups() -> list[Object]:
    named = [version.split("/") for version in KINDS if "/" in version]
    return [
        {
            "name": name,
            "versions": [{"groupVersion": f"{name}/{version}", "version": version}],
            "preferredVersion": {"groupVersion": f"{name}/{version}", "version": version},
        }
        for name, version in named
    ]


def resources(version: str) -> Object:
    listed = [
        {
            "name": plural,
            "singularName": kind.lower(),
            "kind": kind,
            "namespaced": kind not in CLUSTER_WIDE,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        }
        for plural, kind in KINDS[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed}
