"""Tokens under real keys: what opens, what is refused, and that a token gives nobody more than its tenant has."""

from __future__ import annotations

import base64
import gc
import hmac
import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConnectFailed, InvalidKey, KeyExpired, NoCapacity
from gateway.model import RANK, Demand, Quota, Tenant
from gateway.money import oidc
from gateway.money.keys import Keys, hash_key
from gateway.money.oidc import KEPT_BYTES, KEPT_PER_BYTE, MOST_BYTES, Tokens
from gateway.money.oidc_claims import tenant_of
from gateway.money.oidc_keys import FRESH_SECONDS, LEAST_SECONDS, IssuerKeys, signing_keys
from gateway.routing.plan import may_use
from tests.money.tokens import ISSUER, URL, Signer, document, private_key, trusting

ONE = Signer()
RSA = Signer("rsa", "RS256")
NOW = time.time()
EU = frozenset(["eu"])
OWN = Quota("tenant acme: concurrent", "requests", 4, "total", "tenant")


class Home:
    """Where the issuer publishes its keys; `fetched` counts. None: it is down."""

    def __init__(self, *signers: Signer) -> None:
        self.pages: dict[str, bytes] | None = {URL + "keys": document(signers)}
        self.fetched = 0
        self.clock = 100.0
        self.keys = IssuerKeys(self.fetch, lambda: [ISSUER], lambda: self.clock)
        self.tokens = Tokens(self.keys)
        self.keys.on_change.append(self.tokens.forget)

    async def fetch(self, url: str) -> bytes:
        self.fetched += 1
        if self.pages is None or url not in self.pages:
            raise ConnectFailed("it does not answer")
        return self.pages[url]

    def publish(self, *signers: Signer) -> None:
        self.pages = {URL + "keys": document(signers)}

    async def later(self, seconds: float) -> None:
        self.clock += seconds
        await self.keys.look()


@pytest.fixture
async def home() -> Home:
    made = Home(ONE, RSA)
    await made.keys.look()
    return made


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_signed_token_is_its_tenant(algorithm: str) -> None:
    signer = Signer(algorithm=algorithm)
    home = Home(signer)
    await home.keys.look()
    tenant = home.tokens.tenant(trusting(), signer.token())
    assert (tenant.name, tenant.key) == ("acme", "corp:alice")
    assert tenant.expires == pytest.approx(time.time() + 3600 + ISSUER.leeway, abs=5)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(**header: Any) -> str:
    claims = {"iss": URL, "aud": ISSUER.audience[0], "sub": "alice", "org": "acme", "exp": NOW + 3600}
    return f"{part({'alg': 'none', 'typ': 'JWT', **header})}.{part(claims)}."


def under_the_public_key() -> str:
    """HMAC whose secret is what the issuer publishes: a verifier that believes the header takes it."""
    public = RSA.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{unsigned().split('.')[1]}"
    return f"{head}.{part(hmac.digest(public, head.encode(), 'sha256'))}"


def spoiled(token: str) -> str:
    head, claims, signature = token.split(".")
    return f"{head}.{claims}.{signature[:-6]}{'A' * 6}"


def other_claims(token: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{unsigned().split('.')[1]}.{signature}"


BAD: dict[str, tuple[Callable[[], str], str]] = {
    "alg none": (unsigned, "signed in this way"),
    "alg none in other letters": (lambda: unsigned(alg="nOnE"), "signed in this way"),
    "no alg": (lambda: unsigned(alg=None), "signed in this way"),
    "hmac with the public key": (under_the_public_key, "signed in this way"),
    "algorithm of another kind of key": (lambda: replace_kid(RSA.token(), "k1"), "signature|malformed"),
    "wrong issuer": (lambda: ONE.token(iss="https://evil.example.com/"), "nobody whose tokens"),
    "issuer without its slash": (lambda: ONE.token(iss=URL.rstrip("/")), "nobody whose tokens"),
    "issuer that is a number": (lambda: other_claims_of(iss=1), "malformed|nobody whose tokens"),
    "no issuer": (lambda: ONE.token(iss=None), "nobody whose tokens"),
    "wrong audience": (lambda: ONE.token(aud="another-service"), "another audience"),
    "no audience": (lambda: ONE.token(aud=None), "must have|audience"),
    "expired": (lambda: ONE.token(exp=NOW - 60), "expired"),
    "not yet valid": (lambda: ONE.token(nbf=NOW + 600), "not valid yet"),
    "issued in the future": (lambda: ONE.token(iat=NOW + 600), "not valid yet"),
    "no exp": (lambda: ONE.token(exp=None), "must have"),
    "exp that is no number": (lambda: ONE.token(exp="soon"), "malformed"),
    "exp without end": (lambda: other_claims_of(exp=float("inf")), "malformed"),
    "no sub": (lambda: ONE.token(sub=None), "must have"),
    "huge": (lambda: ONE.token(more="x" * MOST_BYTES), "longer than"),
    "unknown kid": (lambda: ONE.token({"kid": "k9"}), "does not publish"),
    "no kid": (lambda: jwt.encode({"iss": URL}, ONE.key, "ES256"), "does not publish"),
    "kid that is a number": (lambda: unsigned(alg="ES256", kid=7), "malformed|does not publish"),
    "another's key": (lambda: Signer("k1").token(), "signature"),
    "spoiled signature": (lambda: spoiled(ONE.token()), "signature"),
    "other claims": (lambda: other_claims(ONE.token()), "signature"),
    "crit": (lambda: ONE.token({"crit": ["b64"], "b64": False}), "malformed|signed in this way"),
    "two dots and nothing else": (lambda: "..", "malformed"),
    "not base64": (lambda: "!!.!!.!!", "malformed"),
    "claims that are a list": (lambda: f"{part({'alg': 'ES256', 'kid': 'k1'})}.{part([])}.{part(b'x')}", "malformed"),
    "deep": (lambda: f"{part(b'[' * 3000)}.{part({})}.", "malformed"),
    "no tenant": (lambda: ONE.token(org=None), "names no tenant"),
    "tenant that is not here": (lambda: ONE.token(org="nobody"), "names no tenant"),
    "tenant that is an object": (lambda: ONE.token(org={"a": 1}), "names no tenant"),
    "priority that is none": (lambda: ONE.token(priority="root"), "priority"),
    "residency that is not here": (lambda: ONE.token(residency="atlantis"), "residency"),
    "models that are numbers": (lambda: ONE.token(models=[1]), "models"),
    "tags with SQL": (lambda: ONE.token(tags=["'; DROP TABLE attempts; --"]), "tag"),
}


def replace_kid(token: str, kid: str) -> str:
    """The header of `kid`'s key, over what another key has signed."""
    _, claims, signature = token.split(".")
    return f"{part({'alg': 'RS256', 'kid': kid})}.{claims}.{signature}"


def other_claims_of(**more: Any) -> str:
    """Signed, with what a library would not write."""
    claims = {"iss": URL, "aud": ISSUER.audience[0], "sub": "a", "org": "acme", "exp": NOW + 60, **more}
    return jwt.api_jws.encode(json.dumps(claims).encode(), ONE.key, "ES256", {"kid": "k1"})


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_good_token_is_refused_with_a_plain_reason(name: str, home: Home) -> None:
    make, reason = BAD[name]
    token = make()
    with pytest.raises(InvalidKey, match=reason) as refused:
        home.tokens.tenant(trusting(), token)
    assert refused.value.status == 401
    assert not any(len(piece) > 8 and piece in refused.value.message for piece in token.split("."))
    assert not home.tokens._known._held


async def test_an_expired_token_says_so_by_its_code_also_where_it_was_good_before(home: Home) -> None:
    moment = [time.time()]
    home.tokens._now = lambda: moment[0]
    token = ONE.token()
    home.tokens.tenant(trusting_once := trusting(), token)
    moment[0] += 3600 + ISSUER.leeway + 1
    with pytest.raises(KeyExpired):
        home.tokens.tenant(trusting_once, token)
    assert not home.tokens._known._held


async def test_where_a_token_says_its_keys_are_is_never_looked_at(home: Home) -> None:
    evil = Signer("k1")
    headers = {"jku": "https://evil.example.com/keys", "x5u": "https://evil.example.com/cert", "jwk": evil.public()}
    before = home.fetched
    with pytest.raises(InvalidKey, match="signature"):
        home.tokens.tenant(trusting(), evil.token(headers))
    assert home.tokens.tenant(trusting(), ONE.token(headers)).name == "acme"
    assert home.fetched == before


async def test_a_token_is_verified_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    token, under = ONE.token(), trusting()
    first = home.tokens.tenant(under, token)
    monkeypatch.setattr(jwt, "decode", None)
    assert home.tokens.tenant(under, token) is first
    joined = replace(under, version="with another worker")
    assert home.tokens.tenant(joined, token) is first
    assert token not in repr(vars(home.tokens))


async def test_what_is_remembered_is_bounded_by_its_size(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    under = trusting()
    tokens = [ONE.token(sub=f"user-{number}") for number in range(6)]
    monkeypatch.setattr(oidc, "MOST_REMEMBERED_BYTES", 3 * (KEPT_BYTES + KEPT_PER_BYTE * len(tokens[0])) + 100)
    for token in tokens:
        home.tokens.tenant(under, token)
    assert [one.key for one in home.tokens.tenants(under)] == [f"corp:user-{number}" for number in (3, 4, 5)]
    home.tokens.tenant(under, ONE.token(sub="long", models=["m" * 30] * 60))
    assert [one.key for one in home.tokens.tenants(under)] == ["corp:long"]


@pytest.mark.parametrize("more", [{}, {"models": ["m" * 60] * 64}, {"tags": [f"{n:060}" for n in range(64)]}])
async def test_what_is_remembered_takes_no_more_than_is_counted(home: Home, more: dict[str, Any]) -> None:
    under = trusting()
    tokens = [ONE.token(sub=f"user-{number}", **more) for number in range(50)]
    home.tokens.tenant(under, ONE.token())
    gc.collect()
    tracemalloc.start()
    for token in tokens:
        home.tokens.tenant(under, token)
    taken = tracemalloc.get_traced_memory()[0] / len(tokens)
    tracemalloc.stop()
    assert taken < KEPT_BYTES + KEPT_PER_BYTE * len(tokens[0])


async def test_what_expired_is_not_kept(home: Home) -> None:
    under, moment = trusting(), [time.time()]
    home.tokens._now = lambda: moment[0]
    home.tokens.tenant(under, ONE.token())
    home.tokens.tenant(under, ONE.token(sub="bob", exp=NOW + 9000))
    moment[0] += 3600 + ISSUER.leeway + 1
    assert [one.key for one in home.tokens.tenants(under)] == ["corp:bob"]
    assert len(home.tokens._known._held) == 1


async def test_a_token_is_remembered_under_the_policy_in_force_and_under_a_candidate(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, current, candidate = ONE.token(), trusting(), trusting(ISSUER, Tenant("acme", models=("m",)))
    first = [home.tokens.tenant(under, token) for under in (current, candidate)]
    assert [one.models for one in first] == [None, ("m",)]
    monkeypatch.setattr(jwt, "decode", None)
    again = [home.tokens.tenant(under, token) for under in (current, candidate, current)]
    assert again == [*first, first[0]]
    assert [home.tokens.tenants(under) for under in (current, candidate)] == [(first[0],), (first[1],)]
    assert home.tokens.tenants(trusting()) == ()
    home.tokens.forget()
    assert home.tokens.tenants(current) == home.tokens.tenants(candidate) == ()


async def test_tenants_of_another_policy_are_read_anew(home: Home) -> None:
    token = ONE.token()
    assert home.tokens.tenant(trusting(), token).models is None
    narrowed = trusting(ISSUER, Tenant("acme", models=("m",)))
    assert home.tokens.tenant(narrowed, token).models == ("m",)
    with pytest.raises(InvalidKey, match="no tenant"):
        home.tokens.tenant(trusting(ISSUER, Tenant("other")), token)
    with pytest.raises(InvalidKey, match="nobody"):
        home.tokens.tenant(replace(trusting(), issuers={}), token)


# The keys of the issuer.


async def test_before_the_keys_came_it_is_a_matter_of_time() -> None:
    home = Home(ONE)
    with pytest.raises(NoCapacity) as refused:
        home.tokens.tenant(trusting(), ONE.token())
    assert refused.value.retry_after


async def test_an_unknown_key_is_asked_for_but_not_for_each_token(home: Home) -> None:
    fresh = Signer("k2")
    home.publish(ONE, fresh)
    for _ in range(20):
        with pytest.raises(InvalidKey):
            home.tokens.tenant(trusting(), fresh.token())
        await home.later(0.1)
    assert home.fetched == 1
    await home.later(LEAST_SECONDS)
    assert home.fetched == 2
    assert home.tokens.tenant(trusting(), fresh.token()).name == "acme"
    await home.later(LEAST_SECONDS)
    assert home.fetched == 2, "nobody asks any more"


async def test_keys_stay_while_their_issuer_is_down_and_are_asked_for_again(home: Home) -> None:
    home.pages = None
    await home.later(FRESH_SECONDS)
    await home.later(LEAST_SECONDS)
    assert home.fetched == 3
    assert home.tokens.tenant(trusting(), ONE.token()).name == "acme"
    assert home.keys.told() == [{"issuer": "corp", "keys": 2, "fault": "it does not answer"}]
    home.publish(ONE)
    await home.later(LEAST_SECONDS)
    assert home.keys.told() == [{"issuer": "corp", "keys": 1, "fault": None}]


async def test_a_key_that_its_issuer_takes_back_opens_nothing_any_more(home: Home) -> None:
    token, under = RSA.token(), trusting()
    home.tokens.tenant(under, token)
    home.publish(ONE)
    await home.later(FRESH_SECONDS)
    with pytest.raises(InvalidKey, match="does not publish"):
        home.tokens.tenant(under, token)


@pytest.mark.parametrize("page", [b"", b"<html>", b"[]", b"{}", b'{"keys": 1}', b"[" * 100_000])
async def test_a_page_that_is_no_set_of_keys_changes_nothing(home: Home, page: bytes) -> None:
    home.pages = {URL + "keys": page}
    await home.later(FRESH_SECONDS)
    assert home.keys.told()[0]["fault"]
    assert home.tokens.tenant(trusting(), ONE.token()).name == "acme"


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [1, {"kty": "RSA", "kid": "a"}],
        [{"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}],
        [ONE.public(use="enc")],
    ],
)
async def test_a_set_without_a_key_that_signs_takes_all_back(home: Home, keys: list[Any]) -> None:
    """How an issuer whose only key was stolen withdraws it."""
    token, under = ONE.token(), trusting()
    home.tokens.tenant(under, token)
    home.pages = {URL + "keys": json.dumps({"keys": keys}).encode()}
    await home.later(FRESH_SECONDS)
    with pytest.raises(InvalidKey, match="does not publish"):
        home.tokens.tenant(under, token)
    told = {"issuer": "corp", "keys": 0, "fault": "it publishes no key that could sign a token"}
    assert home.keys.told() == [told]
    home.publish(ONE)
    await home.later(LEAST_SECONDS)
    assert home.tokens.tenant(under, token).name == "acme"


@pytest.mark.parametrize(
    "odd", [{"alg": "none"}, {"alg": ["ES256"]}, {"kty": ["EC"]}, {"x": 7}, {"crv": {}}, {"y": "\ud800"}]
)
async def test_one_odd_key_takes_no_other_away(odd: dict[str, Any]) -> None:
    home = Home()
    home.pages = {URL + "keys": json.dumps({"keys": [{**ONE.public(), "kid": "k0", **odd}, ONE.public()]}).encode()}
    await home.keys.look()
    assert home.tokens.tenant(trusting(), ONE.token()).name == "acme"
    assert home.keys.told() == [{"issuer": "corp", "keys": 1, "fault": None}]


async def test_what_nobody_thought_of_at_one_issuer_is_shown_and_leaves_the_others_alone() -> None:
    home, bad = Home(ONE), replace(ISSUER, name="bad", url="https://bad.example.com/", jwks_url="bad")

    async def fetch(url: str) -> bytes:
        return json.loads(b"1" * 5000) if url == "bad" else await home.fetch(url)

    home.keys = IssuerKeys(fetch, lambda: [bad, ISSUER])
    await home.keys.look()
    assert [(row["keys"], row["fault"]) for row in home.keys.told()] == [
        (0, "what it publishes cannot be read (ValueError)"),
        (1, None),
    ]


def test_short_and_private_keys_are_left_out() -> None:
    short = Signer("short", "RS256", rsa.generate_private_key(65537, 1024))
    private = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private_key("ES256"))), "kid": "private"}
    found = signing_keys({"keys": [short.public(), private, {**ONE.public(), "kid": 1}, ONE.public()]})
    assert found.keys() == {"k1"}


async def test_a_key_that_is_for_one_algorithm_is_used_with_no_other() -> None:
    signer = Signer("k1", "PS256")
    home = Home()
    home.pages = {URL + "keys": json.dumps({"keys": [signer.public(alg="RS256")]}).encode()}
    await home.keys.look()
    with pytest.raises(InvalidKey, match="another algorithm"):
        home.tokens.tenant(trusting(), signer.token())


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"issuer": URL, "jwks_uri": URL + "keys"}, None),
        ({"issuer": "https://evil.example.com/", "jwks_uri": URL + "keys"}, "another issuer"),
        ({"issuer": URL, "jwks_uri": "http://login.example.com/keys"}, "no https address"),
        ({"issuer": URL, "jwks_uri": "http://127.0.0.1/keys"}, "no https address"),
        ({"issuer": URL}, "no https address"),
    ],
)
async def test_where_the_keys_are_can_be_discovered(told: Any, fault: str | None) -> None:
    home = Home(ONE)
    assert home.pages is not None
    home.pages[URL + ".well-known/openid-configuration"] = json.dumps(told).encode()
    finding = replace(ISSUER, jwks_url=None)
    home.keys = IssuerKeys(home.fetch, lambda: [finding])
    await home.keys.look()
    said = home.keys.told()[0]["fault"]
    assert said is None if fault is None else fault in said


# What it says of its bearer.


names = st.sampled_from(["m", "llama-*", "*", "x"])
said = st.fixed_dictionaries(
    {"sub": st.text(max_size=70), "exp": st.just(1e9), "org": st.sampled_from(["acme", ["acme"], ["x", "acme"]])},
    optional={
        "models": st.lists(names, max_size=2) | names,
        "priority": st.sampled_from(sorted(RANK)),
        "residency": st.sampled_from(["eu", "local", "de,us", ["de", "local"]]),
        "tags": st.lists(st.sampled_from(["a", "b"])),
    },
)


@given(
    said,
    st.sampled_from(sorted(RANK)),
    st.sampled_from([Demand(), Demand(local=True), Demand(zones=frozenset(["eu"]))]),
)
def test_a_token_never_gives_more_than_its_tenant_has(claims: dict[str, Any], priority: Any, residency: Demand) -> None:
    tenant = Tenant("acme", ("m", "llama-8b"), residency, priority, quotas=(OWN,))
    limit = Quota("requests_per_minute", "requests", 5, "minute", "key")
    made = tenant_of(trusting(ISSUER, tenant), replace(ISSUER, limits=(limit,)), claims)
    assert all(may_use(tenant, name) for name in ("m", "llama-8b", "x") if may_use(made, name))
    assert RANK[made.priority] >= RANK[priority]
    assert made.residency.zones >= residency.zones
    assert made.residency.local >= residency.local
    assert made.quotas[0] == OWN
    assert made.quotas[1].name == f"key acme/{made.key}: requests_per_minute"
    assert made.key.isascii()
    assert made.key.isprintable()
    assert len(made.key) <= 70


def test_no_two_subjects_share_what_is_counted() -> None:
    subjects = ["alice", "bob", "a b", "a  b", "", "~x", "ä", "a" * 80, "a" * 81]
    made = {tenant_of(trusting(), ISSUER, {"sub": sub, "exp": 1, "org": "acme"}).key for sub in subjects}
    assert len(made) == len(subjects)


@pytest.mark.parametrize(
    ("given_", "whose"),
    [("Acme Corp", "acme"), (["staff", "Acme Corp"], "acme"), ("acme", None), (["Acme Corp", "Other"], None)],
)
def test_values_that_stand_for_tenants(given_: Any, whose: str | None) -> None:
    mapped = replace(ISSUER, tenants={"Acme Corp": "acme", "Other": "other"})
    under = trusting(mapped, Tenant("acme"), Tenant("other"))
    claims = {"sub": "a", "exp": 1, "org": given_}
    if whose is None:
        with pytest.raises(InvalidKey):
            tenant_of(under, mapped, claims)
    else:
        assert tenant_of(under, mapped, claims).name == whose


async def test_keys_and_tokens_beside_each_other(home: Home) -> None:
    under = replace(trusting(), keys={hash_key("p", "key"): Tenant("acme", key="file")})
    keys = Keys("p", tokens=home.tokens.tenant)
    sent = lambda credential: {b"authorization": b"Bearer " + credential.encode()}  # noqa: E731
    assert keys.tenant(under, sent("key"), None).key == "file"
    assert keys.tenant(under, sent(ONE.token()), None).key == "corp:alice"
    with pytest.raises(InvalidKey, match="not known"):
        keys.tenant(replace(under, issuers={}), sent(ONE.token()), None)
    assert len(keys._admitted) <= 1, "a token is remembered by its own rules"
