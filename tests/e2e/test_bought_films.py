"""Bought films through a real gateway: jobs at GMI, Ark and Vertex, the last one by a service account.

All of them are ordered at once: their APIs are looked at every few seconds only, as they ask for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from loadtests.simproviders.ark import Ark
from loadtests.simproviders.base import Provider
from loadtests.simproviders.gmi import ROOT as GMI_ROOT
from loadtests.simproviders.gmi import Gmi
from loadtests.simproviders.samples import mp4, png
from loadtests.simproviders.serving import Running
from loadtests.simproviders.serving import serve as serve_provider
from loadtests.simproviders.vertex import Vertex
from tests.gateways import Lane, Site, eventually, serve

ROOTS = {"gmi": GMI_ROOT, "ark": "/api/v3", "vertex": "/v1/projects/p1/locations/us-central1"}
MODELS = {
    "gmi-veo": ("gmi", "veo-3.1-lite-generate-001"),
    "gmi-wan": ("gmi", "wan2.7-i2v"),
    "seedance": ("ark", "doubao-seedance-1-0-pro-250528"),
    "veo": ("vertex", "veo-3.1-lite-generate-001"),
}
WITHIN_S = 40.0
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


def account_of(vertex: Running[Vertex]) -> dict[str, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    vertex.provider.public_key = pem
    return {
        "type": "service_account",
        "client_email": "gateway@p1.iam.example",
        "private_key": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "token_uri": f"{vertex.url}/token",
    }


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, dict[str, Provider]]]:
    with contextlib.ExitStack() as stack:
        gmi, ark = stack.enter_context(serve_provider(Gmi())), stack.enter_context(serve_provider(Ark()))
        vertex = stack.enter_context(serve_provider(Vertex()))
        urls = {"gmi": gmi.url, "ark": ark.url, "vertex": vertex.url}

        def written(files: dict[str, Any]) -> dict[str, Any]:
            for name, url in urls.items():
                key = "${file:account.json}" if name == "vertex" else "sim-key"
                account = {"name": f"{name}-1", "url": url + ROOTS[name], "key": key}
                bought = {"name": name, "kind": "managed", "zone": "us", "dialect": name, "simulated": True}
                files["backends.yaml"]["backends"].append({**bought, "upstreams": [account]})
            for name, (backend, known) in MODELS.items():
                served = [{"backend": backend, "as": known, "price": {"per_second": 0.05}}]
                files["models.yaml"]["models"].append({"name": name, "modality": "video", "served_by": served})
                rule = {"name": name, "match": {"model": name}, "route": {"backends": [backend]}}
                files["routing.yaml"]["rules"].append(rule)
            return {**files, "account.json": account_of(vertex)}

        place = tmp_path_factory.mktemp("films")
        env = {"GATEWAY_ARTEFACTS_FLOOR": "0"}
        site = stack.enter_context(serve(place, [Lane("text", cloud=False)], env, written))
        yield site, {"gmi": gmi.provider, "ark": ark.provider, "vertex": vertex.provider}


def test_films_of_three_providers_by_the_official_sdk(market: tuple[Site, dict[str, Provider]]) -> None:
    site, providers = market
    with site.sdk() as sdk:
        made = {
            name: sdk.videos.create(
                model=name,
                prompt="a lighthouse",
                seconds="4",
                size="1280x720",
                input_reference=("first.png", png(64, 64), "image/png"),
            ).id
            for name in MODELS
        }
        left = dict(made)

        def over() -> bool:
            for name, id in list(left.items()):
                found = sdk.videos.retrieve(id)
                assert found.status != "failed", (name, found.error)
                if found.status == "completed":
                    del left[name]
            return not left

        eventually(over, "every film is there", within=WITHIN_S)
        for id in made.values():
            assert sdk.videos.download_content(id).read() == mp4(4.0)
    assert {name: each.submits for name, each in providers.items()} == {"gmi": 2, "ark": 1, "vertex": 1}


def test_a_film_that_cannot_be_ordered_is_refused_with_what_can(market: tuple[Site, dict[str, Provider]]) -> None:
    site, providers = market
    before = providers["vertex"].submits
    body = {"model": "veo", "prompt": "a lighthouse", "seconds": "5", "size": "1280x720"}
    answer: httpx.Response = site.http.post("/v1/videos?wait=20", json=body)
    told = answer.json()
    said = told["error"]["message"]
    assert "4, 6 or 8" in said, told
    assert providers["vertex"].submits == before


def test_a_wrong_model_is_the_callers(market: tuple[Site, dict[str, Provider]]) -> None:
    site, _ = market
    with site.sdk() as sdk, pytest.raises(openai.NotFoundError):
        sdk.videos.create(model="sora-2", prompt="a lighthouse")
