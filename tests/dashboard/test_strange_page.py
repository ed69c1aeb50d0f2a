"""A page of somewhere else, open in a browser on the host of a gateway without any key: nothing of it comes through."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.dashboard.browser import CHROMIUM, NO_CHROMIUM
from tests.gateways import Lane, Site, chat_body, eventually, serve

LANES = [Lane("chat", cloud=False)]
PAGE = b"<!doctype html><title>elsewhere</title>"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
ATTACK = """async ([url, body]) => {
  const form = new FormData();
  form.append("model", "chat");
  form.append("file", new Blob(["sound"]), "a.wav");
  const to = (path, more) => fetch(url + path, {mode: "no-cors", method: "POST", ...more}).then(a => a.type);
  const socket = new Promise(done => {
    const opened = new WebSocket(url.replace("http", "ws") + "/v1/realtime?model=chat");
    opened.onopen = () => done("open");
    opened.onerror = () => done("refused");
  });
  const picture = new Promise(done => {
    const one = new Image();
    one.onload = one.onerror = () => done("sent");
    one.src = url + "/v1/models";
  });
  return Promise.all([
    to("/v1/chat/completions", {body}), to("/v1/audio/transcriptions", {body: form}),
    to("/v1/images/edits", {body: form}), picture, socket,
  ]);
}"""
READ = "async path => (await fetch(path)).status"
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)

    def written(files: dict[str, Any]) -> dict[str, Any]:
        return {name: content for name, content in files.items() if name != "tenants.yaml"}

    with serve(tmp_path_factory.mktemp("site"), LANES, written=written) as running:
        yield running


@asynccontextmanager
async def elsewhere() -> AsyncIterator[str]:
    """A server of one empty page, at another port of this host."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD % len(PAGE) + PAGE)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_what_it_may_send_without_asking_begins_nothing(site: Site, browser: Browser) -> None:
    """Forms, plain text and a session: four refusals, and a fifth for the picture, which no metric counts."""
    async with elsewhere() as url, await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(url)
        told = await page.evaluate(ATTACK, [site.gateway.url, json.dumps(chat_body("chat"))])
    assert told == ["opaque", "opaque", "opaque", "sent", "refused"], "all of it was sent, and nothing read"
    eventually(lambda: site.metric("gateway_errors_total", code="invalid_key") == 4, "four refusals")
    assert site.metric("gateway_errors_total") == 4
    assert site.fleet.requests("chat-1") == []


@pytest.mark.parametrize(("name", "statuses"), [("127.0.0.1", [200, 200, 200]), ("evil.localhost", [401, 401, 403])])
async def test_at_a_name_that_was_made_to_lead_here_it_reads_nothing(
    site: Site, browser: Browser, name: str, statuses: list[int]
) -> None:
    """DNS rebinding: to the browser, page and gateway are of one origin. Chromium takes each name under `localhost` for
    this host, so this one needs no server of names."""
    async with await browser.new_context() as context:
        page = await context.new_page()
        await page.goto(f"{site.gateway.url.replace('127.0.0.1', name)}/healthz")
        found = [await page.evaluate(READ, path) for path in ("/v1/models", "/metrics", "/admin/v1/status")]
    assert found == statuses
