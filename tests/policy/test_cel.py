"""Conditions: what they mean, where their faults are, what they may cost."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.cel import Condition, compile_condition
from gateway.policy.cel_names import FIELDS, FUNCTIONS
from gateway.policy.cel_text import LONGEST_FACT, CelFault, readings, tokens
from gateway.policy.match_schema import MAX_EXPRESSION
from gateway.routing.facts import LONGEST_TEXT

BACKENDS = ("h100", "h100-eu", "api")
FACTS: dict[str, dict[str, Any]] = {
    "request": {
        "model": "llama-8b",
        "stream": True,
        "prompt_tokens": 100,
        "n": 1,
        "max_tokens": None,
        "residency": ["eu"],
        "headers": {"x-team": "search"},
    },
    "tenant": {"name": "acme", "tags": ["gold", "eu"]},
    "fleet": {"load": 0.9, "up": 2, "queue_depth": 4.0},
    "backend": {"h100": {"load": 0.5, "up": 3}, "h100-eu": {"load": 0.1}, "api": {"price_usd": 0.02}},
}


def compiled(source: str) -> Condition:
    return compile_condition(source, BACKENDS)


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("request.stream", True),
        ("!request.stream", False),
        ("fleet.load > 0.8 && fleet.up >= 2", True),
        ("fleet.load > 1", False),
        ("fleet.queue_depth == 4", True),
        ("fleet.up != 2.0", False),
        ("request.prompt_tokens > 99.5", True),
        ("double(request.prompt_tokens) * 1.5 > 149.0", True),
        ("7 / 2 == 3 && -7 / 2 == -3 && 7 % -3 == 1", True),
        ("5.0 / 2.0 == 2.5", True),
        ("'gold' in tenant.tags", True),
        ("request.residency == ['eu']", True),
        ("tenant.tags.exists(tag, tag.startsWith('go'))", True),
        ("tenant.tags.all(tag, tag == 'gold')", False),
        ("tenant.tags.filter(tag, tag != 'eu').size() == 1", True),
        ("tenant.tags.map(tag, tag + '!') == ['gold!', 'eu!']", True),
        ("tenant.tags.exists_one(tag, tag == 'eu')", True),
        ("tenant.tags.map(a, a).exists(b, b == 'eu') && tenant.tags.filter(c, true).map(d, d).size() == 2", True),
        ("request.model.matches('^llama-[0-9]+b$')", True),
        ("size(request.model) == 8 && request.model.contains('ama')", True),
        ("(request.stream ? 'a' : 'b') == 'a'", True),
        ("timestamp('2026-03-29T00:30:00Z').getHours('Europe/Berlin') == 1", True),
        ("duration('90m') > duration('1h')", True),
        ("backend.h100.load < fleet.load", True),
        ("backend['h100-eu'].load < 0.2 && backend[\"h100\"].up == 3", True),
        ("backend\n  . h100 . load > 0.4 // and not fleet.load", True),
        ("backend.api.price_usd * 10.0 < 1", True),
        ('request.headers["X-Team"] == "search"', True),
        ("'x-team' in request.headers", True),
        ("'x-other' in request.headers", False),
        ("has(request.headers['x-team']) && !has(request.headers.other)", True),
        ("'fleet.load' == 'fleet.load'", True),
        ("{'llama-8b': 1, true: 2, 3: 3}[request.model] == 1", True),
        ("request.model in {request.model: 1} && {true ? 'a' : 'b': [1, 2]}['a'].size() == 2", True),
    ],
)
def test_it_means_what_cel_says(source: str, holds: bool) -> None:
    assert compiled(source)(FACTS) is holds


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("fleet.gpu_util > 0.5", False),
        ("fleet.gpu_util < 0.5", False),
        ("!(fleet.gpu_util > 0.5)", False),
        ("fleet.gpu_util == 0.0", False),
        ("request.max_tokens < 10", False),
        ("request.headers['x-other'] != 'a'", False),
        ("backend.api.load < 1", False),
        ("has(fleet.gpu_util)", False),
        ("has(request.max_tokens)", False),
        ("!has(fleet.gpu_util)", True),
        ("has(backend['h100-eu'].load) && !has(backend.api.load)", True),
        ("has( fleet\n . load )", True),
        ("fleet.gpu_util > 0.5 || fleet.load > 0.5", True),
        ("fleet.load > 0.5 || fleet.gpu_util > 0.5", True),
        ("fleet.gpu_util > 0.5 && fleet.load > 0.5", False),
        ("!(fleet.gpu_util > 0.5 && fleet.load < 0.5)", True),
        ("has(fleet.gpu_util) ? fleet.gpu_util > 0.5 : fleet.load > 0.5", True),
    ],
)
def test_an_unknown_reading_makes_what_depends_on_it_not_hold(source: str, holds: bool) -> None:
    assert compiled(source)(FACTS) is holds


@pytest.mark.parametrize(
    ("source", "at", "message"),
    [
        ("request.modle == 'a'", "modle", "`request` has no field `modle`; did you mean `model`?"),
        ("  requst.model == 'a'", "requst", "unknown name `requst.model`; did you mean `request`?"),
        ("request.stream > 3", "> 3", "`>` cannot take bool and int"),
        ("fleet.load", "fleet", "must be true or false, but it is double"),
        ("1 + 2", "1", "must be true or false, but it is int"),
        ("backend.h10.load > 1", "h10", "`backend` has no backend `h10`; did you mean `h100`?"),
        ("backend['h1000'].load > 1", "h1000", "`backend` has no backend `h1000`; did you mean `h100`?"),
        ("backend.h100.loda > 1", "loda", "`backend.h100` has no field `loda`; did you mean `load`?"),
        ("has(fleet.gpu_utl)", "gpu_utl", "`fleet` has no field `gpu_utl`; did you mean `gpu_util`?"),
        ("backend.h100 == 1", "backend", "`backend.h100` has no value of its own"),
        ("size(fleet) > 0", "fleet", "`fleet` has no value of its own"),
        ("fleet.load >\n  'a'", ">", "`>` cannot take double and string"),
        ("true &&\n  fleet.load > 'é'", "> 'é'", "`>` cannot take double and string"),
        ("'é' == 'é' && fleet.load > 'é'", "> 'é'", "`>` cannot take double and string"),
        ("size(1, 2) == 1", "size", "`size` does not take these arguments"),
        ("'a'.startsWith()", "startsWith", "`startsWith` does not take these arguments"),
        ("size(request.n) == 1", "size", "`size` cannot take int"),
        ("sise('a') == 1", "sise", "unknown name `sise`; did you mean `size`?"),
        ("request.model == nope", "nope", "unknown name `nope`; known here: backend, fleet, request, tenant"),
        ("request.prompt_tokens * 1.5 > 2.0", "* 1.5", "`*` cannot take int and double; write both alike"),
        ("fleet.up ? true : false", "?", "`? :` takes a bool and two of one type"),
        ("request.stream && 'a'", "&&", "`&&` cannot take bool and string"),
        ("!fleet.load", "!", "`!` cannot take double"),
        ("request.n in 3", "in", "`in` cannot take int and int"),
        ("request.model = 'a'", "=", "`=` is not CEL: write =="),
        ("request.stream and true", "and", "`and` is not CEL: write &&"),
        ("request.stream OR true", "OR", "`OR` is not CEL: write ||"),
        ("not(request.stream)", "not", "`not` is not CEL: write !"),
        ("request.headers.x-team == 'a'", "x", 'write request.headers["x-team"]'),
        ("request.model 'x'", "'x'", "is not CEL: unexpected `'x'`"),
        ("request.model ==", "", "is not CEL: it ends too early"),
        ("(request.stream", "", "is not CEL: it ends too early"),
        ("request.model == 'abc", "'abc", "is not CEL: unexpected `'`"),
        ("request.model.matches('a(')", "'a('", "is no regular expression of RE2"),
        ("request.model.matches('a(?=b)')", "'a(?", "is no regular expression of RE2"),
        ("request.headers[request.model] == 'a'", "request", "the header must be named here"),
        ("request.headers.size() > 1", "request", "the header must be named here"),
        ("'a' + 'b' in request.headers", "request", "the header must be named here"),
        ("tenant.tags.all(a, [1].all(b, true))", "all(b", "`all` stands within another macro"),
        ("tenant.tags.map(x, x + x).map(y, y + y) == []", "map(y", "`map` of what was mapped already"),
        ("(tenant.tags.map(x, x + x)).filter(z, true).map(y, y) == []", "map(y", "`map` of what was mapped already"),
        ("[tenant.tags.map(x, x + x)[0]].map(y, y + y) == []", "map(y", "`map` of what was mapped already"),
        ("tenant.tags.map(x, x)[0].split().map(y, y) == []", "map(y", "`map` of what was mapped already"),
        ("tenant.tags.all(fleet, true)", "fleet", "`fleet` has no value of its own"),
        ("'__0' == '' && __0 == 1", "__0 ==", "names that begin with `__` are not for conditions"),
        ("true \x00", "\x00", "holds a character that is not allowed"),
        ("'\ud800' == ''", "\ud800", "holds a character that is not allowed"),
        ("dyn(request.n) == 1", "dyn", "unknown name `dyn`"),
        ("", "", "is empty"),
        (" \n ", " ", "is empty"),
        ("{fleet.load: 1}", "fleet", "a key of a map must be text, int or bool"),
        ("{fleet.load: 1}.size() > 0", "fleet", "a key of a map must be text, int or bool"),
        ("fleet.load in {1.0: 2}", "1.0", "a key of a map must be text, int or bool"),
        ("{'a': {'b': 1, 1.5: 1}} == {}", "1.5", "a key of a map must be text, int or bool"),
        ("tenant.tags.all(t, {t: 1}.size() > 0)", "t: 1", "a key of a map must be text, int or bool"),
        ("{[]: 1}", "[]", "a key of a map must be text, int or bool"),
        ("{null: 1}", "null", "a key of a map must be text, int or bool"),
        ("{}", "{", "must be true or false"),
        ("google.protobuf.Any{}", "google", "must be true or false"),
        ("request.model.matches(request.headers.x)", "matches", "`matches` takes a pattern that is written out"),
        ("request.model.matches('a' + 'b')", "matches", "`matches` takes a pattern that is written out"),
        ("request.model.matches(('a'))", "matches", "`matches` takes a pattern that is written out"),
        ("matches(request.model, 'a')", "matches", "`matches` takes a pattern that is written out"),
        (".matches(request.model, 'a')", "matches", "`matches` takes a pattern that is written out"),
        ("request.model.matches(r'[\\p{L}\\p{N}]{300}')", "r'", "`\\p`, `\\P` and `\\Q` are not for conditions"),
        ("request.model.matches('\\\\PL')", "'", "`\\p`, `\\P` and `\\Q` are not for conditions"),
        ("(" * 40 + "true" + ")" * 40, "(", "is nested deeper than 32 levels"),
        ("1" + " + 1" * 40 + " == 1", "1", "is nested deeper than 32 levels"),
    ],
)
def test_a_fault_points_at_the_very_character(source: str, at: str, message: str) -> None:
    with pytest.raises(CelFault) as caught:
        compiled(source)
    assert caught.value.message.startswith(message)
    assert caught.value.offset == (source.index(at) if at else len(source))


def test_what_it_reads_is_told() -> None:
    one = compiled(
        "fleet.load > 1 && has(backend['h100-eu'].up) || request.headers['X-Team'] == 'a' || 'b' in tenant.tags"
    )
    assert one.reads == {"fleet.load", "backend.h100-eu.up", "request.headers", "tenant.tags"}
    assert one.headers == {"x-team"}
    assert compiled("true").reads == frozenset()


def test_a_backend_may_be_called_like_a_field() -> None:
    one = compile_condition("backend.headers.load > 0.5", ("headers",))
    assert (one.reads, one.headers) == ({"backend.headers.load"}, frozenset())
    assert one({"backend": {"headers": {"load": 0.9}}})


def test_it_is_equal_where_the_text_is() -> None:
    one, two = compiled("fleet.load > 1"), compiled("fleet.load > 1")
    assert one == two
    assert hash(one) == hash(two)
    assert one != compiled("fleet.load > 2")


def test_every_declared_field_can_be_read() -> None:
    for root, fields in FIELDS.items():
        for name in fields:
            path = f"{root}.h100.{name}" if root == "backend" else f"{root}.{name}"
            asked = "has(request.headers.x)" if name == "headers" else f"has({path})"
            assert not compiled(asked)({key: {} for key in FIELDS})


def test_every_function_of_the_advice_is_one() -> None:
    for name in FUNCTIONS - {"has"}:
        with pytest.raises(CelFault) as caught:
            compiled(f"{name}() == [1, 2].{name}()")
        assert "unknown name" not in caught.value.message


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        ("1 / (request.n - request.n) == 1", FACTS),
        ("9223372036854775807 + request.n > 0", FACTS),
        ("request.n > 0", {"request": {"n": 10**30}}),
        ("request.n > 0", {"request": {"n": "text"}}),
        ("request.n > 0", {}),
        ("request.headers.x == 'a'", {"request": {"headers": 7}}),
    ],
)
def test_what_cannot_be_worked_out_does_not_hold_and_is_said_once(
    source: str, facts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    source = f"{source} // {time.monotonic_ns()}"  # once per process, so the text must be new
    for _ in range(3):
        with caplog.at_level(logging.WARNING):
            assert compiled(source)(facts) is False
    assert len(caplog.records) <= 1
    assert "10000" not in caplog.text


def test_a_failure_is_logged_with_its_text_alone(caplog: pytest.LogCaptureFixture) -> None:
    source = f"1 / (request.n - request.n) == 1 // {time.monotonic_ns()}"
    with caplog.at_level(logging.WARNING):
        assert [compiled(source)(FACTS) for _ in range(3)] == [False] * 3
    assert caplog.messages == [f"a condition cannot be worked out and does not hold: {source}"]


def test_an_unknown_reading_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert not compiled("fleet.gpu_util > 0.123456")(FACTS)
    assert not caplog.records


COSTLY = [
    "tenant.tags.map(x, " + " + ".join(["request.headers.x"] * 20) + ").size() == 64",
    f"[{','.join('1' * 480)}].all(x, {'*'.join('x' * 24)} == 1)",
    "tenant.tags.all(x, " + " && ".join(["x.matches('.*.*b')"] * 80) + ")",
    " && ".join(["tenant.tags.exists(x, x == 'a' || x.contains('b') || x > 'c')"] * 30),
    "request.model.matches('.{300}')",
    "request.model.matches('([a-z]{30}){30}')",
    "request.model.matches('([^a]{10,}){20}')",
    "request.model.matches(r'[^\\W\\d]{200}')",
    "request.model.matches('" + "é" * 900 + "')",
    "tenant.tags.exists(x, x.matches('[a-z]{10}'))",
    "(request.headers.x + request.headers.x + request.headers.x).matches('.{60}')",
]


@pytest.mark.parametrize("source", COSTLY)
def test_what_could_take_long_is_refused(source: str) -> None:
    assert len(source) <= MAX_EXPRESSION
    with pytest.raises(CelFault, match="could take long"):
        compiled(source)


@pytest.mark.parametrize(
    "source",
    [
        f"[{','.join('1' * 100)}].all(x, {'*'.join('x' * 24)} == 1)",
        "tenant.tags.all(x, " + " && ".join(["x.matches('.*b')"]) + ")",
        " && ".join(["request.model.matches('(x+x+)+y')"] * 40),
        "request.headers.x.matches('.{140}')",
        "request.headers.x.matches('(a?){500}')",
        "request.headers.x.matches('(.|b)*a(a|b){270}y')",
        "request.headers.x.matches('([^b]{10}){11}')",
        "request.headers.x.matches('(.*a){100}b')",
        "request.headers.x.matches(r'(?i)[\\w .-]{1,130}')",
        "request.model.matches('^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$')",
        "tenant.tags.map(x, " + " + ".join(["request.headers.x"] * 12) + ").size() == 64",
        " && ".join(["tenant.tags.exists(x, x == 'a' || x.contains('b'))"] * 12),
    ],
)
def test_the_longest_that_is_allowed_stays_short(source: str) -> None:
    condition = compiled(source)
    facts = FACTS | {
        "tenant": {"tags": ["a" * 64] * LONGEST_FACT},
        "request": {"model": "x" * 128, "headers": {"x": "a" * LONGEST_TEXT}},
    }
    took = []
    for _ in range(5):
        before = time.process_time()
        condition(facts)
        took.append(time.process_time() - before)
    assert min(took) < 0.005


def test_a_text_too_long_is_refused() -> None:
    with pytest.raises(CelFault, match="2000 are the most"):
        compiled("true" + " " * MAX_EXPRESSION)


PIECES = [
    "request",
    ".",
    "stream",
    "fleet.load",
    "backend",
    "['h100']",
    "'",
    '"',
    "(",
    ")",
    "has(",
    "[",
    "]",
    " ",
    "\n",
    "in",
]
PIECES += [
    "> 1",
    "&&",
    "||",
    "!",
    "é",
    "\\",
    "r'",
    "//",
    "tenant.tags",
    ".all(x, ",
    "request.headers",
    "'x-a'",
    "?",
    ":",
    "1.5",
    "{",
    "}",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=40))
def test_any_text_is_a_condition_or_a_fault_within_it(source: str) -> None:
    fault: CelFault | None = None
    try:
        assert compiled(source)(FACTS) in (True, False)
    except CelFault as caught:
        fault = caught
    if fault is not None:
        assert 0 <= fault.offset <= len(source)
        assert not re.search("__[0-9a-f]", fault.message) or "__" in source  # never our own variables


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_tokens_are_the_text(source: str) -> None:
    for token in tokens(source):
        assert source[token.start : token.end] == token.text


def test_no_reading_is_found_inside_text_or_comments() -> None:
    source = (
        "'fleet.load' == r'fleet.load' && \"\"\"fleet.load\"\"\" != '\\'fleet.load' // fleet.load\n && fleet.up > 0"
    )
    assert [one.path for one in readings(tokens(source), ())] == [("fleet", "up")]
