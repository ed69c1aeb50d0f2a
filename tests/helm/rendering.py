"""The chart through the real Helm engine: installed into a recorder, every object held against Kubernetes' schemas."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import kubernetes_validate
import pytest
from helm_sdkpy.actions import Configuration, Install
from helm_sdkpy.exceptions import InstallError

from tests.helm.cluster import Object, recorder
from tests.helm.custom import check
from tests.helm.settings_schema import CHART
from tests.helm.values import Values

NAMESPACE, RELEASE = "ai", "gateway"
KUBERNETES = "1.34"
"""The oldest minor version that Kubernetes itself supports at this time."""
LABELS = "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version"


@dataclass(frozen=True)
class Rendered:
    objects: tuple[Object, ...]
    notes: str

    def kinds(self) -> list[str]:
        return sorted(one["kind"] for one in self.objects)

    def all(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Any:
        found = [one for one in self.all(kind) if name in (None, one["metadata"]["name"])]
        assert len(found) == 1, (kind, name, self.kinds())
        return found[0]

    @property
    def pod(self) -> Any:
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def container(self) -> Any:
        (container,) = self.pod["containers"]
        return container

    @property
    def env(self) -> dict[str, Any]:
        """Variable -> its text, or the reference that it has."""
        return {one["name"]: one.get("value", one.get("valueFrom")) for one in self.container["env"]}


def install(values: Values) -> Rendered:
    """Raises InstallError as the engine says it. Every object is checked."""
    with recorder() as cluster:
        config = Configuration(namespace=NAMESPACE, kubeconfig=cluster.kubeconfig)
        told = asyncio.run(Install(config).run(RELEASE, str(CHART), values=values, wait=False))
    sound(cluster.created)
    return Rendered(tuple(cluster.created), told["info"]["notes"])


def refusal(values: Values) -> str:
    """What the engine says of values that it must refuse."""
    with pytest.raises(InstallError) as refused:
        install(values)
    return str(refused.value)


def sound(objects: Iterable[Object]) -> None:
    for one in objects:
        if not check(one):
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
        assert set(LABELS) <= set(one["metadata"]["labels"]), one["metadata"]
        assert one["metadata"]["namespace"]
