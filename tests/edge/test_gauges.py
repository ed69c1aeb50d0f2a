from __future__ import annotations

from typing import Any

from gateway.edge.gauges import breaker_rows, fleet_rows, headroom_rows, up_rows
from gateway.fleet.circuits import Circuits
from gateway.model import Match, Model, Served, Slo, Snapshot
from gateway.routing.board import Board
from tests.worlds import PRICE, board, policy, rule

STRICT, LOOSE = Slo(0.5, 0.02), Slo(5.0, 0.1)
NOW = 100.0


def rows_of(seen: Board) -> dict[tuple[str, str], dict[str, Any]]:
    return dict(fleet_rows(seen))


def test_a_worker_of_two_models_shows_the_lower_of_their_limits() -> None:
    served = (Served("gpu", "real"), Served("api", "real", PRICE))
    made = policy(
        rules=(rule("a", match=Match(model=("a",)), slo=STRICT), rule("b", match=Match(model=("b",)), slo=LOOSE)),
        models={name: Model(name, "text", served) for name in ("a", "b")},
    )
    seen = board(made, w1={"leased": 1_000_000})
    rows = rows_of(seen)
    limits = [seen.limit(seen.snapshot.states["w1"], name) for name in ("a", "b")]
    assert limits[0] is not None
    assert limits[1] is not None
    assert limits[0] < limits[1]
    assert rows["gpu", "w1"]["gateway_upstream_limit_seconds"] == limits[0] / 1e6
    assert rows["gpu", "w1"]["gateway_upstream_leased_share"] == 1_000_000 / limits[0]
    assert rows["api", "a1"]["gateway_upstream_limit_seconds"] is None, "counted in requests, not in seconds"


def test_without_an_slo_the_fixed_limit_is_shown() -> None:
    seen = board()
    limit = seen.policy.upstreams["w1"].limit
    assert rows_of(seen)["gpu", "w1"]["gateway_upstream_limit_seconds"] == limit / 1e6


def test_the_scale_moves_what_is_shown() -> None:
    made = policy(rules=(rule(slo=STRICT),))
    before, states = rows_of(board(made)), board(made).snapshot.states
    after = rows_of(Board(made, Snapshot(NOW, states, scales={("gpu", "m"): 0.5})))
    shown = [rows["gpu", "w1"]["gateway_upstream_limit_seconds"] for rows in (before, after)]
    assert shown[0] is not None
    assert shown[1] is not None
    assert abs(shown[1] - shown[0] / 2) < 1e-5


def test_the_state_of_the_breaker_is_shown() -> None:
    seen, circuits = board().snapshot, Circuits()
    worker = seen.states["w1"].upstream
    circuits.pause(worker, NOW, 5.0, "account", judged=True)
    assert dict(breaker_rows(seen, Circuits(), NOW))["gpu", "w1"] == 0.0
    assert dict(breaker_rows(seen, circuits, NOW))["gpu", "w1"] == 2.0
    assert dict(breaker_rows(seen, circuits, NOW + 3600))["gpu", "w1"] == 1.0


def test_who_is_out_and_what_accounts_have_left_is_shown() -> None:
    seen = board(w1={"out": "gone"}, a1={"headroom": 0.25}).snapshot
    up = dict(up_rows(seen))
    assert (up["gpu", "w1"], up["api", "a1"]) == (0.0, 1.0)
    assert dict(headroom_rows(seen)) == {("api", "a1"): 0.25}
