"""One browser, and a gateway per module; each test has a profile of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.dashboard.browser import CHROMIUM, NO_CHROMIUM, launch
from tests.gateways import Site, serve


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    async with async_playwright() as playwright:
        running = await launch(playwright)
        yield running
        await running.close()


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    env = getattr(request.module, "ENV", None)
    with serve(tmp_path_factory.mktemp("site"), request.module.LANES, env) as running:
        yield running
