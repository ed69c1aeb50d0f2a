"""With an admin key: the page is public, its data is not, and the key stays in the tab."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.dashboard.browser import PHONE, opened
from tests.gateways import Lane, Site

ADMIN_KEY = "the-key-of-the-operators"
LANES = [Lane("chat")]
ROWS_OF_HEAD = 2
ENV = {"GATEWAY_ADMIN_KEY": ADMIN_KEY}
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


async def test_nobody_sees_anything_without_the_key(site: Site, browser: Browser) -> None:
    async with opened(browser, site.gateway.url) as seen:
        seen.expected = ("401",)
        page = seen.page
        await page.goto(f"{site.gateway.url}/dashboard")
        await expect(page.locator("#view-sign-in")).to_be_visible()
        await expect(page.locator("#view-overview")).to_be_hidden()
        assert await seen.violations() == []
        await page.locator("#key").fill("this-is-not-the-admin-key")
        await page.keyboard.press("Enter")
        await expect(page.locator("#sign-in-fault")).to_contain_text("not the admin key")
        await seen.picture("sign-in")
        await page.locator("#key").fill(ADMIN_KEY)
        await page.keyboard.press("Enter")
        await expect(page.locator("#link-text")).to_have_text("Connected")
        await expect(page.locator("#backends")).to_contain_text("chat")
        assert ADMIN_KEY not in await page.evaluate(
            "JSON.stringify([{...localStorage}, location.href, document.cookie])"
        )
        assert await page.evaluate("Object.values(sessionStorage)") == [ADMIN_KEY]
        await page.reload()
        await expect(page.locator("#link-text")).to_have_text("Connected")
        await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        top = await page.locator("header.top").bounding_box()
        assert top is not None
        assert top["height"] < ROWS_OF_HEAD * 50, "with a key too: names and tools, then the views"
        await page.locator("#sign-out").click()
        await expect(page.locator("#view-sign-in")).to_be_visible()
        assert await page.evaluate("sessionStorage.length") == 0
        assert ADMIN_KEY not in " ".join((*seen.asked, *seen.said))
    assert ADMIN_KEY not in site.logged()


async def test_a_gateway_that_went_is_told_and_found_again(site: Site, browser: Browser) -> None:
    async with opened(browser, site.gateway.url) as seen:
        seen.expected = ("401", "ERR_FAILED", "Failed to load resource")
        page = seen.page
        await page.goto(f"{site.gateway.url}/dashboard")
        await page.route("**/admin/v1/live", lambda route: route.abort())
        await page.locator("#key").fill(ADMIN_KEY)
        await page.keyboard.press("Enter")
        await expect(page.locator("#link-text")).to_have_text("Reconnecting")
        await expect(page.locator("#alerts")).to_contain_text("does not answer")
        await page.unroute("**/admin/v1/live")
        await expect(page.locator("#link-text")).to_have_text("Connected")
        await expect(page.locator("#alerts")).to_be_empty()
