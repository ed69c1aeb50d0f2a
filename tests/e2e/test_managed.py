"""What a bought API refuses, and what it may have charged: asked no more often than is right."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.gateways import API_KEY, HASTY, Lane, Site, eventually


def bought(name: str, accounts: tuple[str, ...] = (API_KEY,), **route: Any) -> Lane:
    return Lane(name, accounts=accounts, route={"backends": [f"{name}-api"], "spill": None, **route})


LANES = [
    bought("limited"),
    *(bought(fault) for fault in ("invalid_key", "payment_required", "insufficient_quota")),
    bought("error"),
    bought("cut"),
    bought("late", timeouts={"first_byte": "300ms"}),
    bought("broken"),
    bought("dead"),
    bought("accounts", accounts=("revoked-key", API_KEY)),
    Lane("spilling", seats=1),
    Lane("budgeted", seats=1, route={"spill": {"backends": ["budgeted-api"], "budget_usd_per_hour": 0.00015}}),
]
HELLO: Any = [{"role": "user", "content": "hello"}]


def asked(site: Site, lane: str) -> int:
    return len(site.fleet.requests(f"{lane}-api"))


def test_a_rate_limit_is_passed_on_in_our_words_and_kept(site: Site) -> None:
    site.fleet.config("limited-api", rpm=1)
    assert site.chat("limited").headers["x-gateway-outcome"] == "managed"
    refused = site.chat("limited")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "fleet_saturated")
    assert int(refused.headers["retry-after"]) > 30, "what the API said"
    assert "Rate limit reached" not in refused.text
    for _ in range(3):
        later = site.chat("limited")
        assert later.status_code in (429, 503)
        assert int(later.headers["retry-after"]) >= 1
    assert asked(site, "limited") == 1, "its answer said that nothing was left"


@pytest.mark.parametrize("fault", ["invalid_key", "payment_required", "insufficient_quota"])
def test_a_refusal_of_our_account_opens_the_circuit(site: Site, fault: str) -> None:
    site.fleet.config(f"{fault}-api", account=fault)
    answers = [site.chat(fault) for _ in range(5)]
    assert {answer.status_code for answer in answers} <= {502, 503}
    assert all(answer.json()["error"]["code"] in ("upstream_error", "no_capacity") for answer in answers)
    assert asked(site, fault) == 1, "asking again would be noise"
    assert site.metric("gateway_upstream_up", upstream=f"{fault}-api") == 0


def test_another_account_is_asked_instead(site: Site) -> None:
    answers = [site.chat("accounts") for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 8
    refused = [seen for seen in site.fleet.requests("accounts-api") if seen["status"] == 401]
    assert len(refused) <= 1
    assert asked(site, "accounts") == 8 + len(refused)


def test_a_spill_that_is_refused_is_not_repeated_in_a_loop(site: Site) -> None:
    site.fleet.config("spilling-api", account="insufficient_quota")
    with site.occupied("spilling"):
        answers = [site.chat("spilling", HASTY) for _ in range(4)]
    assert {answer.status_code for answer in answers} == {429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert asked(site, "spilling") == 1


def nothing_is_bought_twice(site: Site, lane: str) -> None:
    """The SDK would try twice more, if it were not told not to."""
    with site.sdk(max_retries=2) as client, pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=lane, messages=HELLO, max_tokens=20)
    assert (failed.value.status_code, failed.value.code) == (502, "upstream_error")
    assert failed.value.response.headers["x-should-retry"] == "false"
    assert asked(site, lane) == 1
    assert len(site.receipt(str(failed.value.request_id))["attempts"]) == 1


def test_an_answer_of_500_is_not_bought_twice(site: Site) -> None:
    site.fleet.config("error-api", error_rate=1.0)
    nothing_is_bought_twice(site, "error")


def test_a_connection_cut_after_the_request_was_sent_is_not_bought_twice(site: Site) -> None:
    site.fleet.config("cut-api", drop_mid_stream=1.0)
    nothing_is_bought_twice(site, "cut")


def test_a_first_byte_that_does_not_come_is_not_bought_twice(site: Site) -> None:
    site.fleet.config("late-api", hang=True)
    nothing_is_bought_twice(site, "late")


def test_a_stream_cut_in_the_middle_ends_with_an_error(site: Site) -> None:
    site.fleet.config("broken-api", drop_mid_stream={"share": 1.0, "after_frames": 2})
    with site.sdk(max_retries=2) as client:
        stream = client.chat.completions.create(
            model="broken", messages=HELLO, max_tokens=500, stream=True, extra_body={"ignore_eos": True}
        )
        with pytest.raises(openai.APIError) as failed:
            list(stream)
    assert failed.value.code == "upstream_error"
    assert asked(site, "broken") == 1


def test_what_never_reached_the_api_may_go_elsewhere(site: Site) -> None:
    site.fleet.config("dead-api", die=True)
    answer = site.chat("dead")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_capacity")
    assert "x-should-retry" not in answer.headers
    assert [attempt["result"] for attempt in site.receipt(answer)["attempts"]] == ["ConnectFailed"]


def test_a_request_that_never_left_spends_no_budget(site: Site) -> None:
    """The budget buys one request; the first try finds a closed port and must not use it up."""
    site.fleet.config("budgeted-api", die=True)
    with site.occupied("budgeted"):
        assert site.chat("budgeted", HASTY, max_tokens=100).status_code in (429, 503)
    site.fleet.config("budgeted-api", alive=True)
    eventually(lambda: site.metric("gateway_upstream_up", upstream="budgeted-api") == 1, "the circuit closes again")
    with site.occupied("budgeted"):
        assert site.chat("budgeted", max_tokens=100).headers.get("x-gateway-outcome") == "spilled"
