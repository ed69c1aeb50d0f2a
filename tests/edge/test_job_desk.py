"""What a caller may say about its job: where it is told, how long it waits."""

from __future__ import annotations

import pytest

from gateway.edge.job_desk import MOST_WAIT, allowed_hosts, is_hook, seconds_of, trusted
from gateway.errors import InvalidRequest


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://hooks.example.com/a?b=c", True),
        ("http://hooks.example.com/", False),
        ("http://hooks.inside/", True),
        ("http://127.0.0.1:9000/hook", True),
        ("https://user:password@hooks.example.com/", False),
        ("https:///nowhere", False),
        ("https://hooks.example.com:port/", False),
        ("https://hooks.example.com/ b", False),
        ("https://hooks.example.com/\r\nx: y", False),
        ("https://höoks.example.com/", False),
        ("https://x/" + "a" * 3000, False),
        ("gopher://hooks.inside/", False),
        ("", False),
    ],
)
def test_addresses_of_webhooks(url: str, good: bool) -> None:
    assert is_hook(url, allowed_hosts("*.inside, 127.0.0.1,")) is good


def test_hosts_that_an_operator_allows() -> None:
    allowed = allowed_hosts(" *.Inside ,")
    assert trusted("https://a.INSIDE:8443/", allowed)
    assert not trusted("https://inside.example.com/", allowed)
    assert not trusted("https://a.inside/", allowed_hosts(""))


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("0", 0.0), ("2.5", 2.5), ("99999", MOST_WAIT)])
def test_how_long_one_waits(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "inf"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidRequest, match="`wait`"):
        seconds_of(text)
