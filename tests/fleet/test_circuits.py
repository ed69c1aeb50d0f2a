from __future__ import annotations

from gateway.fleet.circuits import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Circuits


def test_a_refused_connection_opens_at_once_and_others_after_three_in_a_row() -> None:
    circuits = Circuits()
    assert circuits.failed("dead", 0.0, "failing", at_once=True)
    assert circuits.why_open("dead", 0.5) == "failing"
    assert [circuits.failed("ill", 0.0, "failing") for _ in range(3)] == [False, False, True]
    assert circuits.why_open("well", 0.0) is None


def test_a_success_in_between_starts_the_count_anew() -> None:
    circuits = Circuits()
    for _ in range(5):
        circuits.failed("w", 0.0, "failing")
        circuits.succeeded("w", 0.0, 0.0)
    assert circuits.why_open("w", 0.0) is None


def test_the_pause_doubles_up_to_a_bound_and_one_failure_after_it_opens_again() -> None:
    circuits, now, pause = Circuits(), 0.0, FIRST_PAUSE_SECONDS
    assert circuits.failed("w", now, "failing", at_once=True)
    for _ in range(8):
        assert circuits.why_open("w", now + pause - 0.01)
        assert circuits.why_open("w", now + pause) is None
        now += pause
        assert circuits.failed("w", now, "failing")
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def test_an_upstream_that_asked_to_wait_is_left_alone_for_that_long() -> None:
    circuits = Circuits()
    circuits.pause("api", 10.0, 7.0, "asked_to_wait")
    assert circuits.why_open("api", 16.9) == "asked_to_wait"
    assert circuits.why_open("api", 17.0) is None


def test_answers_asked_for_before_a_pause_do_not_end_it() -> None:
    circuits = Circuits()
    circuits.pause("api", 10.0, 60.0, "asked_to_wait")
    circuits.succeeded("api", began=9.0, now=11.0)
    circuits.succeeded("api", began=11.0, now=12.0)
    assert circuits.why_open("api", 69.0)
    circuits.succeeded("api", began=9.0, now=71.0)
    assert not circuits.failed("other", 71.0, "failing")
    assert circuits.failed("api", 71.0, "failing"), "one failure after the pause is enough"
