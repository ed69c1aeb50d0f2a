"""Readiness needs an upstream once, health needs one now: all replicas have the same upstreams."""

from __future__ import annotations

from pathlib import Path

from tests.gateways import Lane, eventually, serve

LANE = Lane("chat", workers=2, cloud=False)


def test_a_gateway_whose_workers_are_all_down_stays_ready_and_says_so_itself(tmp_path: Path) -> None:
    with serve(tmp_path, [LANE], {"GATEWAY_LEAVE_SECONDS": "5"}) as site:
        assert [site.http.get(path).status_code for path in ("/readyz", "/health")] == [200, 200]
        for name in LANE.worker_names:
            site.fleet.config(name, die=True)
        eventually(lambda: site.http.get("/health").status_code == 503, "no upstream takes traffic", 10)
        assert site.http.get("/health").json() == {"status": "not_ready"}
        ready = site.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
        refused = site.chat("chat")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_capacity")
        assert int(refused.headers["retry-after"]) > 0
        assert site.http.get("/admin/v1/status").json()["ready"] is False
        site.gateway.process.terminate()
        eventually(lambda: site.http.get("/readyz").json() == {"status": "leaving"}, "it leaves")
        assert site.http.get("/health").json() == {"status": "leaving"}
        assert site.http.get("/readyz").status_code == 503
