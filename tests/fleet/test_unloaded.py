from __future__ import annotations

from gateway.fleet.unloaded import HOLD_SECONDS, Unloaded
from tests.worlds import reading


def test_what_a_worker_said_it_lacks_holds_until_a_page_that_lists_its_models() -> None:
    unloaded = Unloaded()
    unloaded.said("w", "m", 100.0)
    older, newer = reading(99.0, models=("m",)), reading(101.0, models=("m",))
    assert unloaded.names("w", older, 102.0) == {"m"}
    assert unloaded.names("other", older, 102.0) == frozenset()
    assert unloaded.names("w", newer, 102.0) == frozenset()
    assert unloaded.names("w", older, 102.0) == frozenset(), "forgotten"


def test_where_no_page_lists_them_it_is_asked_again_after_a_while() -> None:
    unloaded = Unloaded()
    unloaded.said("w", "m", 100.0)
    unloaded.said("w", "n", 105.0)
    assert unloaded.names("w", reading(101.0), 101.0) == {"m", "n"}
    assert unloaded.names("w", None, 100.0 + HOLD_SECONDS) == {"n"}


def test_who_leaves_the_policy_is_forgotten() -> None:
    unloaded = Unloaded()
    unloaded.said("w", "m", 100.0)
    unloaded.keep(frozenset({"w"}))
    assert unloaded.names("w", None, 101.0) == {"m"}
    unloaded.keep(frozenset())
    assert unloaded.names("w", None, 101.0) == frozenset()
