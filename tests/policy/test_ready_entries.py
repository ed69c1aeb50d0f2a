"""policies/catalog is what the cards give, and compiles where its backends are."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from gateway.catalog.cards import LOCAL, every
from gateway.policy.compile import compile_files
from gateway.policy.ready_entries import backends_of, ready_entries

from .good import folder

CATALOG = Path(__file__).parents[2] / "policies" / "catalog"
PROVIDERS = sorted({card.provider for card in every()})
TODAY = date(2026, 11, 21)
_WORKERS = """\
backends:
  - name: own
    kind: local
    zone: z
    networks: [10.0.0.0/8]
    gpu: {kind: H200, usd_per_hour: 2.6}
    upstreams:
"""


def backends(provider: str) -> str:
    cards = [card for card in every() if card.provider == provider]
    if provider == LOCAL:
        engines = sorted({engine for card in cards for engine in card.engines})
        workers = "".join(
            f'      - {{name: w{port}, url: "http://10.1.2.3:{port}", engine: {engine}, gpus: 8}}\n'
            for port, engine in enumerate(engines, 8000)
        )
        return f"zones: {{z: {{}}}}\n{_WORKERS}{workers}"
    rows = "".join(
        f"  - {{name: {name}, {what}, zone: z, upstreams: [{{name: {name}-1, url: https://api.example.com/v1}}]}}\n"
        for name, what in backends_of(cards).items()
    )
    return f"zones: {{z: {{}}}}\nbackends:\n{rows}"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_published_file_is_what_the_cards_give(provider: str) -> None:
    published = (CATALOG / f"{provider}.yaml").read_text(encoding="utf-8")
    assert published == ready_entries(provider), f"gateway models export {provider} > policies/catalog/{provider}.yaml"


def test_there_is_one_file_for_each_provider_and_no_other() -> None:
    assert sorted(path.stem for path in CATALOG.glob("*.yaml")) == PROVIDERS
    models = [one for path in CATALOG.glob("*.yaml") for one in yaml.safe_load(path.read_bytes())["models"]]
    assert len(models) >= 250


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_compiles_where_its_backends_are(provider: str) -> None:
    text = (CATALOG / f"{provider}.yaml").read_text(encoding="utf-8")
    names = backends_of(card for card in every() if card.provider == provider)
    files = {
        "backends.yaml": backends(provider),
        "models.yaml": text,
        "routing.yaml": f"rules: [{{name: all, match: {{}}, route: {{backends: [{', '.join(names)}]}}}}]\n",
        "prices.yaml": "unknown_price: route\n",
    }
    policy = compile_files(folder(files), None, TODAY)
    cards = {card.model: card for card in every() if card.provider == provider}
    served = [served for model in policy.models.values() for served in model.served_by]
    assert {one.name for one in served} == {card.model for card in cards.values() if not card.gone(card.as_of)}
    if provider != LOCAL:
        assert all(one.offer == cards[one.name].offer for one in served)
        assert all(one.retires == cards[one.name].retires for one in served)
        unpriced = re.findall(r"# no price is known.*\n(?: +#.*\n)* +- \{backend: .*?, as: (.*?)\}", text)
        assert sorted(unpriced) == sorted(one.name for one in served if one.price is None)
