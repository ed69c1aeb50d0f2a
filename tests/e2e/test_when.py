"""Rules that look at the very request, over HTTP: its headers, its session, its size, and the fleet at that instant."""

from __future__ import annotations

import json

from tests.gateways import Lane, Site, eventually

LANES = [Lane("asks", seats=1)]
CONDITIONS = {
    "by-header": "request.headers['X-Team'] == 'blue'",
    "by-session": "request.session == 's1' && request.endpoint == 'chat/completions'",
    "when-full": "fleet.load > 0.5 && backend['asks-api'].up == 1",
}


def test_the_first_condition_that_holds_decides(site: Site) -> None:
    path = site.folder / "routing.yaml"
    written = json.loads(path.read_text())
    asking = [
        {"name": name, "match": {"model": "asks", "when": when}, "route": {"backends": ["asks-api"]}}
        for name, when in CONDITIONS.items()
    ]
    path.write_text(json.dumps({**written, "rules": [*asking, *written["rules"]]}))

    def met(**headers: str) -> str:
        answer = site.chat("asks", headers={name.replace("_", "-"): value for name, value in headers.items()})
        assert answer.status_code == 200
        return str(answer.headers["x-gateway-rule"])

    eventually(lambda: met(X_Team="blue") == "by-header", "the new policy")
    assert met(x_team="BLUE") == "asks"
    assert met(X_Gateway_Session="s1") == "by-session"
    assert met() == "asks"
    with site.occupied("asks"):
        eventually(lambda: met() == "when-full", "the view has seen the load")
    eventually(lambda: met() == "asks", "the view has seen that it is gone")
