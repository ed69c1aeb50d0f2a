"""The retry budget: a dead worker's requests may all try again, a broken fleet is not hit harder than a healthy one."""

from __future__ import annotations

from gateway.edge.services import RETRY_BURST, RETRY_SHARE, RetryBudget

SEATS = 256
"""vLLM's default max_num_seqs: as many requests may have to leave a worker at once."""


def test_a_full_workers_requests_may_all_try_again() -> None:
    budget = RetryBudget()
    assert all(budget.take() for _ in range(SEATS))


def test_after_that_retries_are_a_share_of_the_traffic() -> None:
    budget = RetryBudget()
    while budget.take():
        pass
    granted = 0
    for _ in range(1000):
        budget.request()
        granted += budget.take()
    assert granted == int(1000 * RETRY_SHARE)


def test_quiet_times_save_no_more_than_the_burst() -> None:
    budget = RetryBudget()
    for _ in range(100_000):
        budget.request()
    assert budget.tokens == RETRY_BURST
