"""Sessions with upstreams at `wss://`: verified by the authority that their backend names, else not begun."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from gateway.money.keys import hash_key
from loadtests.stack import start_gateway
from tests.certificates import Authority
from tests.realtime.conftest import KEY, PEPPER, Site
from tests.realtime.speaker import speakers
from tests.realtime.test_sessions import say, session


def folder(port: int, authorities: dict[str, Path]) -> dict[str, Any]:
    """A model for each authority, all at the same server."""
    names = list(authorities)
    worker = {"url": f"https://localhost:{port}", "max_num_seqs": 8, "engine": "openai"}
    backends = [
        {"name": name, "kind": "local", "zone": "onprem", "endpoints": ["realtime"], "tls": {"ca": str(ca)}}
        | {"networks": ["127.0.0.0/8", "::1/128"], "upstreams": [{"name": f"{name}-1", **worker}]}
        for name, ca in authorities.items()
    ]
    served = {name: [{"backend": name, "as": "weights"}] for name in names}
    return {
        "backends.yaml": {"zones": {"onprem": {}}, "backends": backends},
        "models.yaml": {"models": [{"name": n, "modality": "audio", "served_by": served[n]} for n in names]},
        "routing.yaml": {"rules": [{"name": n, "match": {"model": n}, "route": {"backends": [n]}} for n in names]},
        "tenants.yaml": {"tenants": [{"name": "acme", "keys": [hash_key(PEPPER, KEY)]}]},
    }


def test_only_who_is_trusted_is_spoken_to(tmp_path: Path) -> None:
    known, stranger = (Authority.make(tmp_path, name) for name in ("known", "stranger"))
    pair = known.issue("speaker")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    with speakers(1, tls) as stage:
        (tmp_path / "policies").mkdir()
        files = folder(stage.ports[0], {"trusted": known.own.cert, "untrusted": stranger.own.cert})
        for name, content in files.items():
            (tmp_path / "policies" / name).write_text(json.dumps(content))
        env = {"GATEWAY_KEY_PEPPER": PEPPER}
        with start_gateway(tmp_path / "policies", tmp_path / "data", env=env, log=tmp_path / "log") as gateway:
            site = Site(gateway, stage)
            with session(site, "trusted") as socket:
                say(socket, type="response.create")
                assert [json.loads(socket.recv(5))["type"] for _ in range(2)] == ["response.created", "response.done"]
            with pytest.raises(InvalidStatus) as refused, session(site, "untrusted"):
                pass
            assert refused.value.response.status_code in (502, 503)
    assert len(stage.sessions) == 1
