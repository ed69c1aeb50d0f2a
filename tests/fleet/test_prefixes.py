"""Who read what lately: the longest beginning that is known, what prompts have in common, and what replicas tell."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.prefix_news import KEPT, STREAM_KEY, PrefixNews
from gateway.fleet.prefixes import COMMON, HALF_PLACES, READERS, Known, Prefixes
from gateway.routing.affinity import GROWTH
from gateway.store.connection import Store
from tests.worlds import request


def send(memory: Prefixes, chain: tuple[int, ...], upstream: str) -> Known:
    found = memory.find(chain)
    memory.read(chain, upstream, found.key)
    return found


def test_a_conversation_is_found_by_the_longest_beginning_that_is_known() -> None:
    memory = Prefixes()
    assert send(memory, (1, 2, 3), "w1") == ((), 1)
    assert send(memory, (1, 2, 3, 4, 5), "w1") == (("w1",), 1)
    assert send(memory, (1, 2, 3, 4, 5, 6), "w2") == (("w1",), 1), "w1 had no room"
    assert send(memory, (1, 2, 3, 4, 5, 6, 7), "w2") == (("w2",), 1)
    assert memory.find((8, 9)) == ((), 8)
    assert memory.find(()) == ((), None)


def test_what_goes_on_in_many_ways_is_common_and_the_first_new_beginning_counts() -> None:
    memory, system = Prefixes(), (1, 2)
    for number in range(COMMON + 1):  # the first of them is no continuation yet
        send(memory, (*system, 10 + number, *range(100 * number, 100 * number + 9)), f"w{number}")
    fresh = (*system, 77, *range(900, 909))
    assert memory.find(fresh) == ((), 77)
    assert send(memory, fresh, "w9").key == 77
    assert memory.find((*fresh, 910)) == (("w9",), 77), "and from then on it is its own"


def test_a_long_common_text_draws_its_questions_until_many_workers_have_it() -> None:
    memory, document = Prefixes(), tuple(range(1, 20))
    for number in range(READERS):
        found = send(memory, (*document, 100 + number), f"w{number}")
        assert len(found.readers) == number, "nobody knows it at first"
    assert memory.find((*document, 200)).readers == (), "everybody has it soon"
    assert 1.9 < GROWTH**HALF_PLACES < 2.2


def test_a_request_is_told_what_is_known_and_one_without_beginnings_is_left_as_it_is() -> None:
    memory, plain = Prefixes(), request()
    assert memory.known(plain) is plain
    asked = request(beginnings=(1, 2))
    memory.sent(memory.known(asked), "w1")
    again = memory.known(request(beginnings=(1, 2, 3)))
    assert (again.read_by, again.prefix) == (("w1",), 1)


@given(st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=6, unique=True), st.sampled_from("abcdefgh"))))
def test_it_is_bounded_and_always_has_an_answer(story: list[tuple[list[int], str]]) -> None:
    memory = Prefixes(most=10)
    for chain, upstream in story:
        found = send(memory, tuple(chain), upstream)
        assert len(found.readers) <= READERS
        assert (found.key is None) == (not chain)
        assert len(memory._entries) <= 10


async def test_replicas_tell_each_other_where_a_conversation_went(valkey: Store) -> None:
    one, other = (PrefixNews(valkey, name, Prefixes()) for name in ("r1", "r2"))
    await one.exchange()
    await other.exchange()
    send(one.prefixes, (1, 2, 3), "w4")
    await one.exchange()
    await other.exchange()
    assert other.prefixes.find((1, 2, 3, 4)).readers == ("w4",)
    send(one.prefixes, (1, 2, 3, 4), "w4")
    assert one.prefixes.news == [], "what the other one knows is no news"
    send(one.prefixes, (1, 2, 3, 4, 5), "w5")
    await one.exchange()
    await valkey.call("XADD", STREAM_KEY, "*", "owner", "r3", "news", b"of another version")
    await other.exchange()
    assert other.prefixes.find((1, 2, 3, 4, 5)).readers == ("w5",)
    for _ in range(40 * KEPT):
        await valkey.call("XADD", STREAM_KEY, "MAXLEN", "~", KEPT, "*", "owner", "r3", "news", b"[]")
    assert await valkey.call("XLEN", STREAM_KEY) < 10 * KEPT


async def test_without_the_store_news_wait(valkey: Store) -> None:
    news = PrefixNews(valkey, "r1", Prefixes())
    await news.exchange()
    send(news.prefixes, (1, 2), "w1")
    await valkey.aclose()
    await news.exchange()
    assert news.prefixes.news == [(2, "w1")]
