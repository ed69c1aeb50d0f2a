"""The share of a candidate: exact enough, sticky, the same everywhere, and growing without changing sides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.candidate import Candidate, Trial
from tests.worlds import policy

MANY = 20_000


def candidate(share: float, version: str = "0123456789ab") -> Candidate:
    return Candidate(Trial(version, "share", share), policy())


def sessions(share: float, version: str = "0123456789ab") -> set[int]:
    tried = candidate(share, version)
    return {number for number in range(MANY) if tried.takes(b"%d" % number)}


def test_it_is_as_large_as_asked_for() -> None:
    for share in (0.01, 0.05, 0.5, 1.0):
        deviation = (share * (1 - share) / MANY) ** 0.5
        assert abs(len(sessions(share)) / MANY - share) <= 4 * deviation


def test_a_larger_share_keeps_the_sessions_of_a_smaller_one() -> None:
    assert sessions(0.05) < sessions(0.2)


def test_the_next_candidate_begins_with_others() -> None:
    first, second = sessions(0.05), sessions(0.05, "ba9876543210")
    assert len(first & second) < len(first) / 5


@given(st.binary(max_size=64))
def test_the_shadow_takes_nothing(session: bytes) -> None:
    assert not Candidate(Trial("v", "shadow"), policy()).takes(session)
