"""When the next place is likely to come free."""

from __future__ import annotations

from gateway.edge.seats import LONGEST_SECONDS, MOST_QUOTAS, Seats


def test_it_follows_the_rate_at_which_places_come_free() -> None:
    now = [0.0]
    seats = Seats(lambda: now[0])
    assert seats.seconds("q") == 1, "nothing is known yet"
    for _ in range(40):
        seats.left("q")
        now[0] += 7.0
    assert seats.seconds("q") == 7
    assert seats.seconds("other") == 1
    for _ in range(40):
        seats.left("q")
        now[0] += 0.1
    assert seats.seconds("q") == 1
    now[0] += 1e6
    seats.left("q")
    assert seats.seconds("q") <= LONGEST_SECONDS


def test_it_remembers_so_many() -> None:
    seats = Seats(lambda: 0.0)
    for number in range(3 * MOST_QUOTAS):
        seats.left(str(number))
    assert len(seats._seen) <= MOST_QUOTAS
