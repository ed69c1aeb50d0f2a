"""The paths that `gateway serve --help` names are there."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from gateway.cli.serve import serve
from tests.gateways import Lane, Site
from tests.gateways import serve as serving

PATHS = re.findall(r"/[a-z0-9/]+", serve.help or "")
BELOW = {"/v1": "/v1/models"}
"""What is told of a prefix."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("paths"), [Lane("chat", cloud=False)]) as made:
        yield made


def test_the_help_names_some() -> None:
    assert set(PATHS) > set(BELOW)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_help_is_answered(site: Site, path: str) -> None:
    answer = site.http.get(BELOW.get(path, path))
    assert answer.status_code < httpx.codes.BAD_REQUEST, answer.text
