"""Which header names were meant to say where data may go."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.calls import Call, new_call
from gateway.edge.strays import COMMON, DEMAND, is_stray, strays
from gateway.errors import ResidencyUnknown
from gateway.model import Demand
from tests.worlds import policy

NAME = b"residency"
LETTERS = (string.ascii_lowercase + string.digits + "-_").encode()
SENT = """
    accept accept-charset accept-encoding accept-language access-control-request-headers access-control-request-method
    authorization cache-control connection content-disposition content-encoding content-language content-length
    content-type cookie date dnt early-data expect from host http2-settings if-match if-modified-since if-none-match
    if-range if-unmodified-since keep-alive last-event-id max-forwards origin pragma prefer priority
    proxy-authorization proxy-connection range referer save-data te trailer transfer-encoding upgrade
    upgrade-insecure-requests user-agent via want-digest x-requested-with
    sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc
    sec-websocket-extensions sec-websocket-key sec-websocket-protocol sec-websocket-version
    baggage traceparent tracestate b3 x-b3-parentspanid x-b3-sampled x-b3-spanid x-b3-traceid uber-trace-id
    sentry-trace x-cloud-trace-context x-amzn-trace-id x-datadog-origin x-datadog-parent-id
    x-datadog-sampling-priority x-datadog-tags x-datadog-trace-id newrelic
    forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-proto
    x-forwarded-client-cert x-original-forwarded-for x-original-url x-real-ip x-scheme x-envoy-attempt-count
    x-envoy-decorator-operation x-envoy-expected-rq-timeout-ms x-envoy-external-address x-envoy-internal
    x-envoy-peer-metadata x-envoy-peer-metadata-id cdn-loop cf-connecting-ip cf-ipcountry cf-ray cf-visitor
    fastly-client-ip true-client-ip x-azure-clientip x-azure-ref x-appengine-country x-vercel-id x-vercel-forwarded-for
    x-vercel-ip-country x-correlation-id x-request-id x-request-start x-amz-date x-amz-security-token
    x-amz-content-sha256 x-goog-api-client x-goog-api-key x-goog-user-project x-ms-client-request-id x-ms-region
    api-key x-api-key openai-beta openai-organization openai-project openai-safety-identifier chatgpt-account-id
    originator session_id x-codex-turn-state x-openai-subagent x-openai-internal-codex-residency x-openai-fedramp
    anthropic-beta anthropic-dangerous-direct-browser-access anthropic-version x-app
    x-stainless-arch x-stainless-async x-stainless-custom-poll-interval x-stainless-helper x-stainless-helper-method
    x-stainless-lang x-stainless-os x-stainless-package-version x-stainless-poll-helper x-stainless-raw-response
    x-stainless-read-timeout x-stainless-retry-count x-stainless-runtime x-stainless-runtime-version x-stainless-timeout
    http-referer x-title x-litellm-api-key x-litellm-timeout x-litellm-tags x-litellm-enable-message-redaction
    x-litellm-stream-timeout x-litellm-num-retries x-litellm-spend-logs-metadata litellm_metadata
    langsmith-trace x-langchain-request-id helicone-auth helicone-user-id portkey-config x-portkey-api-key
    x-portkey-metadata x-vercel-ai-data-stream x-vercel-ai-ui-message-stream ai-gateway-auth-method
    x-dashscope-async x-dashscope-datainspection x-dashscope-sse x-fal-object-lifecycle-preference xi-api-key
    idempotency-key x-idempotency-key x-data-residency x-gateway-deadline-ms x-gateway-max-cost-usd
    x-gateway-max-wait-ms x-gateway-pipeline x-gateway-priority x-gateway-session x-gateway-webhook x-metadata-source
    x-database x-user-data
"""
"""What openai, anthropic, litellm, langchain, the Vercel AI SDK and Codex, browsers, proxies, meshes, clouds and
tracers send (their sources and documentation; RFC 9110; W3C trace context and baggage)."""


OTHERS = """
    x-residency data-residency x-gateway-residency x-gateway-data-residency residency x_data_residency data_residency
    x-data_residency x-data-location x-data-locality x-data-region x-data-zone x-data-residence x-data-residencies
    x-tenant-residency x-data-
"""


def call(*headers: tuple[bytes, bytes]) -> Call:
    return new_call({"path": "/v1/chat/completions", "headers": list(headers), "client": ("127.0.0.1", 1)})


@st.composite
def misspelt(draw: st.DrawFn, right: bytes) -> bytes:
    """`right` with one letter too many, too few, another one, or two in each other's place."""
    at = draw(st.integers(0, len(right) - 1))
    letter = bytes([draw(st.sampled_from(LETTERS))])
    wrong = draw(
        st.sampled_from(
            (
                right[:at] + right[at + 1 :],
                right[:at] + letter + right[at:],
                right + letter,
                right[:at] + letter + right[at + 1 :],
                right[:at] + right[at : at + 2][::-1] + right[at + 2 :],
            )
        )
    )
    return wrong if wrong != right else right + letter


@given(misspelt(NAME))
def test_one_slip_in_the_last_word_is_seen(wrong: bytes) -> None:
    name = b"x-data-" + wrong
    assert strays({b"host": b"", name: b"local"}) == (name.decode(),)


@given(misspelt(DEMAND.removesuffix(NAME)))
def test_one_slip_before_it_is_seen(wrong: bytes) -> None:
    assert is_stray(wrong + NAME)


@pytest.mark.parametrize("name", OTHERS.split())
def test_other_names_for_it_are_seen(name: str) -> None:
    assert is_stray(name.encode())


@pytest.mark.parametrize("name", SENT.split())
def test_what_programs_send_is_left_alone(name: str) -> None:
    assert strays({name.encode(): b""}) == ()


def test_no_common_name_is_one_of_them() -> None:
    assert [name for name in COMMON if is_stray(name) or name != name.lower()] == []


def test_a_stray_is_refused_by_its_name_and_never_by_its_value() -> None:
    with pytest.raises(ResidencyUnknown) as refused:
        call((b"x-data-residancy", b"secret"), (DEMAND, b"local")).demand(policy())
    assert refused.value.param == "x-data-residancy"
    assert "X-Data-Residency" in refused.value.message
    assert "secret" not in refused.value.message


def test_a_long_name_is_shown_in_part() -> None:
    with pytest.raises(ResidencyUnknown) as refused:
        call((b"x-data-" + b"y" * 9000, b"")).demand(policy())
    assert len(refused.value.message) < 200


def test_a_header_that_a_rule_looks_at_is_no_mistake() -> None:
    asked = call((b"x-data-class", b"public"))
    assert asked.demand(replace(policy(), headers=frozenset({"x-data-class"}))) == Demand()
    with pytest.raises(ResidencyUnknown):
        asked.demand(policy())
