"""States that a gateway is seldom in, looked at in light, in dark and on a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, expect

from gateway.console.live.sources import REFUSED
from tests.dashboard.browser import PHONE, opened, stand_in
from tests.dashboard.troubles import FAULT, NEW, TROUBLES, app

SAID = {
    "shadow": [
        ("#trial", f"{NEW} is tried in the shadow"),
        ("#trial", "upstream of 31 requests"),
        ("#stored", "on trial"),
    ],
    "share": [("#trial", f"{NEW} decides 5.0 % of the sessions"), ("#trial", "61 of 1,241 requests")],
    "out": [
        ("#grid", "breaker open: errors"),
        ("#grid", "gpu fault: xid 79"),
        ("#fleet-counts", "4 out"),
    ],
    "degraded": [("#alerts", "the store does not answer"), ("#link-text", "Degraded")],
    "spent": [
        ("#money", "✕ used up"),
        ("#money", "this month"),
        ("#money", "More than buying all"),
        ("#flow", "no rule"),
    ],
    "refused": [("#alerts", f"{REFUSED}: {FAULT}"), ("#policy .over >> nth=0", FAULT)],
}
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with stand_in(app()) as url:
        yield url


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_it_is_said_and_everybody_can_read_it(url: str, browser: Browser, trouble: str) -> None:
    for scheme in ("light", "dark"):
        async with opened(browser, f"{url}/{trouble}", color_scheme=scheme) as seen:
            page = seen.page
            await page.goto(f"{seen.url}/dashboard#{TROUBLES[trouble]}")
            for place, words in SAID[trouble]:
                await expect(page.locator(place)).to_contain_text(words)
            assert await seen.violations() == []
            await seen.picture(f"{trouble}-{scheme}", whole=True)
            await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
            await page.wait_for_function("wide => document.documentElement.scrollWidth <= wide", arg=PHONE["width"])
            await seen.picture(f"{trouble}-phone-{scheme}", whole=True)
