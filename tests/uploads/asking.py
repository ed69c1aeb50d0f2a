"""What the tests of uploads say and read: forms by hand, receipts, the official SDK."""

from __future__ import annotations

from email.parser import BytesParser
from typing import Any

import httpx
import openai

from loadtests.uploads.client import END, FILE, Answer, answer, connect, field, head
from loadtests.uploads.listener import Heard
from loadtests.uploads.site import KEY, Site
from tests.gateways import eventually

SOUND = bytes(range(256)) * 4000
"""More than a gateway reads before it looks at it."""


def sdk(site: Site) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=f"{site.gateway.url}/v1", api_key=KEY, http_client=http, max_retries=0, timeout=20.0)


def form(
    model: str | None, *, first: bool = True, more: bytes = b"", behind: bytes = b"", file: bytes = SOUND
) -> bytes:
    """`more` comes before the file, `behind` after it; `first`: so does the model."""
    named = b"" if model is None else field("model", model)
    before, after = (named, b"") if first else (b"", named)
    return before + more + FILE + file + b"\r\n" + after + behind + END


def post(site: Site, raw: bytes, *, key: str = KEY, more: str = "", length: int | None = -1) -> Answer:
    with connect(site.gateway.url) as sock:
        sock.sendall(head(key, len(raw) if length == -1 else length, more=more))
        sock.sendall(raw)
        return answer(sock)


def parts(heard: Heard) -> dict[str, tuple[str | None, bytes]]:
    """File name and bytes of each part that a worker was sent, as an independent reader takes it apart."""
    raw = b"Content-Type: " + heard.headers["content-type"].encode() + b"\r\n\r\n" + bytes(heard.body)
    message: Any = BytesParser().parsebytes(raw)
    assert not message.defects
    return {
        str(one.get_param("name", header="content-disposition")): (one.get_filename(), one.get_payload(decode=True))
        for one in message.get_payload()
    }


def receipt(site: Site, request_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        url = f"{site.gateway.url}/v1/gateway/receipts/{request_id}"
        found = httpx.get(url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
        return found.json() if found.status_code == httpx.codes.OK else None

    return eventually(look, "the receipt")


def spent(site: Site) -> float:
    """USD so far, as the metrics have it."""
    page = httpx.get(f"{site.gateway.url}/metrics", trust_env=False).text.splitlines()
    return sum(float(line.split()[-1]) for line in page if line.startswith("gateway_cost_usd_total{"))


def quiet(site: Site) -> None:
    """No request is in the gateway, and none holds a lease."""

    def look() -> bool:
        page = httpx.get(f"{site.gateway.url}/metrics", trust_env=False).text.splitlines()
        busy = [line for line in page if line.startswith(("gateway_requests_in_flight", "gateway_upstream_leases{"))]
        return all(line.endswith(" 0.0") for line in busy)

    eventually(look, "nothing is left")
