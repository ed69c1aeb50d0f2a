"""One gateway and one simulated fleet per module: the module's `LANES` say what they consist of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateways import Site, serve


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = getattr(request.module, "ENV", None)
    written = getattr(request.module, "written", lambda files: files)
    with serve(tmp_path_factory.mktemp("site"), request.module.LANES, env, written) as running:
        yield running
