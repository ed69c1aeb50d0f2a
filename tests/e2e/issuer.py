"""A small issuer of tokens on loopback: its discovery document and its keys over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.money.tokens import Signer, document

AUDIENCE = "the-gateway"


class Issuer:
    """`signers` are those whose keys it publishes now, and `keys_url` where it says they are; `asked` are the paths
    that it was asked for."""

    def __init__(self, url: str) -> None:
        self.url, self.asked = url, list[str]()
        self.keys_url = f"{url}/keys"
        self.signers = [Signer("k1", "RS256"), Signer("k2", "ES256")]

    def token(self, signer: int = 0, **claims: Any) -> str:
        return self.signers[signer].token(**{"iss": self.url, "aud": AUDIENCE, **claims})

    def page(self, path: str) -> bytes | None:
        self.asked.append(path)
        if path == "/keys":
            return document(self.signers)
        told = {"issuer": self.url, "jwks_uri": self.keys_url}
        return json.dumps(told).encode() if path == "/.well-known/openid-configuration" else None

    def policy(self, **more: Any) -> Mapping[str, Any]:
        """As `oidc:` has it; its keys are discovered."""
        claims = {"tenant": "org", "models": "models", "priority": "priority", "residency": "residency", "tags": "tags"}
        return {"name": "corp", "issuer": self.url, "audience": AUDIENCE, "claims": claims, **more}


@contextmanager
def issuing() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = issuer.page(self.path)
            self.send_response(404 if page is None else 200)
            self.end_headers()
            self.wfile.write(page or b"")

        def log_message(self, *_: Any) -> None:
            """Nothing: the tests' own output is enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
