"""One gateway before workers that hear; each lane is broken by the tests that name it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadtests.uploads.site import Lane, Site, serve

LANES = [
    Lane("ears"),
    Lane("pair", workers=2),
    Lane("trio", workers=3),
    Lane("half", gone=1),
    Lane("quad", workers=2),
    Lane("early"),
    Lane("dies"),
    Lane("slow"),
    Lane("bought", route={"backends": ["cloud"]}),
    Lane("spills", gone=1, workers=0, route={"fallback": ["cloud"]}),
]
MOST_BYTES = 80 << 20
ENV = {"GATEWAY_UPLOAD_BYTES": str(MOST_BYTES), "GATEWAY_BODY_SECONDS": "1.5"}


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("uploads"), LANES, ENV) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.play.heard.clear()
    running.play.acts.clear()
    running.play.resume.clear()
    return running
