"""The second look at what failed: few, and nothing that keeps a promise about money or residency."""

from __future__ import annotations

from pathlib import Path

import httpx._transports.default as httpx_default
import pytest

from tests.suite import MOST, second_look

ONE = "tests/edge/test_protocol.py::test_a_crowd_of_slow_callers_does_not_stop_the_others"


@pytest.mark.parametrize(
    ("failed", "again"),
    [
        ([], []),
        ([ONE], [ONE]),
        ([f"tests/edge/test_a.py::test_{number}" for number in range(MOST + 1)], []),
        ([ONE, "tests/money/test_till.py::test_never_overspent"], []),
        (["tests/residency_test.py::test_flagged"], []),
    ],
    ids=["none", "one", "too-many", "money", "residency"],
)
def test_a_second_look_is_for_few_and_for_no_promise(failed: list[str], again: list[str]) -> None:
    assert second_look(failed) == again


def test_authorities_are_those_that_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The suite keeps what it read of them."""
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    usual = httpx_default.create_ssl_context()
    assert httpx_default.create_ssl_context() is usual
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    nobody = httpx_default.create_ssl_context()
    assert nobody is not usual
    assert nobody.cert_store_stats()["x509"] == 0
