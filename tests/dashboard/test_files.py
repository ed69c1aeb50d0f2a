"""The page as files: how they are sent, how much they are, and that they ask for nothing from elsewhere."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import get_args

import pytest
from fastapi import FastAPI
from flit_core.common import Module
from starlette.responses import Response
from starlette.testclient import TestClient

from gateway.console.candidates import CUT, FAILED, LEFT, NO_ROOM, PASSED_OVER, SLOWER, TOOK_IT
from gateway.console.dashboard import FOLDER, TYPES, dashboard_routes, files
from gateway.console.live.history import OUTCOMES
from gateway.errors import NotFound
from gateway.model.words import Reason
from gateway.routing.filters import CALL, STANDING
from loadtests.stack import ROOT

MOST_BYTES = 150_000


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(dashboard_routes())
    app.add_exception_handler(NotFound, lambda request, error: Response(status_code=404))
    return TestClient(app)


def test_the_page_needs_no_key_and_allows_no_stranger(client: TestClient) -> None:
    answer = client.get("/dashboard")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    rules = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["form-action"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", sorted(files()))
def test_each_file_is_there_and_is_kept(client: TestClient, name: str) -> None:
    first = client.get(f"/dashboard/{name}")
    assert first.headers["content-encoding"] == "gzip"
    assert first.content == (FOLDER / name).read_bytes()
    again = client.get(f"/dashboard/{name}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = client.get(f"/dashboard/{name}", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] != first.headers["etag"]
    assert client.head(f"/dashboard/{name}").headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("name", ["nothing.js", "..%2Faccess.py", "%2e%2e/admin.py", "page"])
def test_nothing_else_is(client: TestClient, name: str) -> None:
    assert client.get(f"/dashboard/{name}").status_code == 404


def test_all_of_it_is_small() -> None:
    assert sum(len(gzip.compress(path.read_bytes())) for path in FOLDER.iterdir()) < MOST_BYTES / 2


def test_nothing_comes_from_elsewhere_and_no_markup_is_made_of_text() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|@import", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), path.name
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_the_wheel_has_it() -> None:
    packed = {
        Path(name).name for name in Module("gateway", ROOT).iter_files() if "console/page" in Path(name).as_posix()
    }
    assert packed == {path.name for path in FOLDER.iterdir()}
    assert {Path(name).suffix for name in packed} <= TYPES.keys()


def keys_of(name: str) -> list[str]:
    """Of an object in words.js."""
    found = re.search(rf"export const {name} = {{\n(.*?)\n}};", (FOLDER / "words.js").read_text(), re.S)
    assert found is not None
    return re.findall(r"^  (\w+):", found[1], re.M)


def test_it_has_words_for_all_that_the_gateway_says() -> None:
    assert keys_of("REASONS") == list(get_args(Reason))
    assert {name for name, _ in (*STANDING, *CALL)} <= set(keys_of("DROPS"))
    assert keys_of("ENDS") == [TOOK_IT, FAILED, LEFT, SLOWER, CUT, NO_ROOM, PASSED_OVER]
    assert keys_of("OUTCOMES") == list(OUTCOMES)
    assert set(keys_of("STATES")) == {"up", "warming", "asleep", "draining", "drained", "out"}
