"""The files of a policy folder as pydantic models: what may be written, and nothing else.

An unknown key is refused, and so is an option that would have no effect. `compile.py` checks what crosses objects and
files; `jsonschema.py` publishes these models for editors. Docstrings become the descriptions in the editor.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from gateway.model import EndpointName, Modality, Priority
from gateway.policy.money_schema import BudgetIn, BudgetsFile, LimitsIn, WebhookUrl
from gateway.policy.offer_schema import OfferIn
from gateway.policy.oidc_schema import IssuerIn
from gateway.policy.price_schema import PriceIn, PricesFile
from gateway.policy.route_schema import RoutingFile
from gateway.policy.strict import Strict
from gateway.policy.words import (
    HOST,
    KEYED_HASH,
    Amount,
    Count,
    Duration,
    Glob,
    Instant,
    Listed,
    ModelName,
    Name,
    Networks,
    NotNegative,
    OneOrMore,
    OrText,
    Positive,
    ZoneName,
)
from gateway.policy.worker_schema import BreakerIn, DiscoverIn, Gpu, LocalUpstream, PatternIn, UpstreamIn

# backends.yaml


class Zone(Strict):
    """A place where data can be, such as a country, a site or a cloud region."""

    within: Listed[ZoneName] = ()
    """The larger zones that contain this one; what lies in it lies in them, and in theirs."""


class SpeedIn(Strict):
    """Replaces the prior of the GPU kind.

    A step takes step_ms + per_seq_ms x sequences + per_prompt_token_ms x prompt tokens.
    """

    step_ms: Positive
    """A step of an empty batch."""
    per_seq_ms: NotNegative
    """What each sequence adds to a step."""
    per_prompt_token_ms: NotNegative
    """What each token of a new prompt adds to the step that reads it."""


class ManagedUpstream(UpstreamIn):
    """One account at a bought API."""

    max_concurrent: Count = 1000
    """Requests that may be in flight there at once."""


HostGlob = Annotated[str, Field(pattern=r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]
"""A name, or all below one; never `*`, which is any."""
Endpoints = OneOrMore[EndpointName]
DialectName = Literal[
    "openai",
    "azure",
    "anthropic",
    "gmi",
    "vertex",
    "gemini",
    "dashscope",
    "ark",
    "kling",
    "elevenlabs",
    "minimax",
    "fal",
    "replicate",
]


PemFile = Annotated[str, Field(min_length=1)]


class TlsIn(Strict):
    """How the https addresses of a backend are secured. PEM files; paths are relative to the policy folder."""

    ca: PemFile | None = None
    """The authorities that are trusted instead of the system's."""
    cert: PemFile | None = None
    """The certificate that we show, with its chain."""
    key: PemFile | None = None
    """Its private key, without a passphrase."""
    server_name: Annotated[str, Field(pattern=HOST)] | None = None
    """The name in the workers' certificates, where it is not that of their addresses."""

    @model_validator(mode="after")
    def says_something(self) -> TlsIn:
        if (self.cert is None) != (self.key is None):
            raise ValueError("must set both `cert` and `key`, or neither")
        if self.ca is None and self.cert is None and self.server_name is None:
            raise ValueError("must set `ca`, or `cert` and `key`, or `server_name`, or several of them")
        return self


class LocalBackend(Strict):
    """Our own GPU workers."""

    name: Name
    """What models and rules call it."""
    kind: Literal["local"]
    """`local`: our own GPU workers; `managed`: a bought API."""
    zone: ZoneName
    """Where these workers are: what residency is judged by."""
    networks: Networks = ()
    """A connected peer outside them is refused. Required unless every address is a loopback one."""
    endpoints: Endpoints | None = None
    """What its workers speak; default: by their engine. Other requests never go there."""
    tls: TlsIn | None = None
    """How its https addresses are secured; default: the system's authorities, no certificate of ours."""
    gpu: Gpu | None = None
    """Kind and price of the GPUs."""
    speed: SpeedIn | None = None
    """How fast a worker is; default: by the kind of its GPUs."""
    breaker: BreakerIn = BreakerIn()
    """When one of its workers is left alone for a while."""
    slow_start: Duration = 10.0
    """How long a worker that came or came back takes to get its full share."""
    upstreams: tuple[LocalUpstream, ...] = ()
    """Its workers: alike, and each as good as the other."""
    discover: Listed[DiscoverIn] = ()
    """Where further workers are found as they come and go. Zone, price and networks are what this backend says."""
    worker: PatternIn | None = None
    """What the workers are that `discover` finds."""

    @model_validator(mode="after")
    def has_workers(self) -> LocalBackend:
        if not self.upstreams and not self.discover:
            raise ValueError("has neither `upstreams` nor `discover`, so it could have no worker")
        if self.worker is not None and not self.discover:
            raise ValueError("`worker` has no effect without `discover`")
        return self


class ManagedBackend(Strict):
    """A bought API."""

    name: Name
    """What models and rules call it."""
    kind: Literal["managed"]
    """`local`: our own GPU workers; `managed`: a bought API."""
    zone: ZoneName
    """Where it runs. Being there does not let data bound to the zone go there: `private_endpoint_in` does."""
    networks: Networks = ()
    """A connected peer outside them is refused; default: any peer."""
    dialect: DialectName = "openai"
    """How it speaks: paths, errors, usage."""
    provider: Name | None = None
    """Whose API it is, as `gateway prices list` calls it; default: by its address, where the price book knows that."""
    endpoints: Endpoints | None = None
    """What it speaks; default: chat/completions, completions, responses, embeddings. Other requests never go there."""
    tls: TlsIn | None = None
    """How its https addresses are secured; default: the system's authorities, no certificate of ours."""
    private_endpoint_in: Listed[ZoneName] = ()
    """Zones in which this API is a private endpoint of ours: data bound to them may go there if a rule names it."""
    artefact_hosts: Listed[HostGlob] = ()
    """Hosts, or globs of them, where its results may lie, beside those that its dialect knows."""
    simulated: bool = False
    """A stand-in on loopback that costs nothing."""
    breaker: BreakerIn = BreakerIn()
    """When one of its accounts is left alone for a while."""
    upstreams: Annotated[tuple[ManagedUpstream, ...], Field(min_length=1)]
    """Its accounts."""


Backend = Annotated[LocalBackend | ManagedBackend, Field(discriminator="kind")]


class BackendsFile(Strict):
    """backends.yaml: zones, and where requests can be sent."""

    zones: dict[ZoneName, Zone] = {}
    """Zone -> the larger ones that it lies in. `local` is not one: it means our own machines."""
    backends: Annotated[tuple[Backend, ...], Field(min_length=1)]
    """Sets of interchangeable upstreams."""


# models.yaml


class VersionIn(Strict):
    """One of several versions of a model at one backend."""

    name: Name
    """What receipts and metrics call it, such as v1."""
    as_: Annotated[ModelName, Field(alias="as")]
    """Its name at that backend."""
    weight: Positive = 1.0
    """Its share of the sessions, beside the other versions."""


class NeedIn(Strict):
    """What a model needs of a worker."""

    memory_gb: Positive | None = None
    """Memory of all its GPUs together, in 10^9 bytes: weights, and room for the KV cache."""
    gpus: Count = 1
    """How many GPUs share it (tensor-parallel degree): each must have `memory_gb / gpus`."""


class ServedIn(Strict):
    """One way to serve a model."""

    backend: Name
    """One of backends.yaml."""
    as_: Annotated[ModelName | None, Field(alias="as")] = None
    """The model's name at that backend. Required unless there are `versions`."""
    versions: Annotated[tuple[VersionIn, ...], Field(min_length=2)] | None = None
    """Several versions side by side, each session on one of them."""
    price: PriceIn | None = None
    """Of a bought API: what it costs; default: as prices.yaml and the price book say."""
    workflow: Annotated[str, Field(min_length=1)] | None = None
    """Of ComfyUI workers: the template of the graph that they are given, a JSON file of this folder."""
    can: OfferIn | None = None
    """Of a model of pictures, films or sound: what it can do there; default: as the catalogue says."""

    @model_validator(mode="after")
    def one_name(self) -> ServedIn:
        if (self.as_ is None) == (self.versions is None):
            raise ValueError("must set either `as` or `versions`")
        return self


class ModelIn(Strict):
    """A name that clients send, and who serves it."""

    name: ModelName
    """The name that clients send."""
    modality: Modality = "text"
    """What it makes."""
    served_by: Annotated[tuple[ServedIn, ...], Field(min_length=1)]
    """Each backend that serves it; the rules say who is tried when."""
    residency: str | None = None
    """Where every request for it must stay: `local`, a zone, or several separated by commas."""
    custom: bool = False
    """It exists on our own machines only: no bought API may be named for it, here or by a rule."""
    needs: NeedIn | None = None
    """What a worker must have to serve it; default: nothing is asked."""
    default_output_cap: Amount | None = None
    """Where the caller names no cap on the output, this one, in tokens: it goes up wherever money is set aside."""
    context_tokens: Amount | None = None
    """The longest prompt that it reads, in tokens: bounds the price of one that holds pictures or sounds."""


class ModelsFile(Strict):
    """models.yaml: the public names, and who serves them."""

    models: Annotated[tuple[ModelIn, ...], Field(min_length=1)]
    """What GET /v1/models lists."""


# tenants.yaml


class KeyTerms(Strict):
    """What a key may do, wherever it is written: never more than its tenant."""

    id: Name | None = None
    """What ledger, receipts and `gateway keys` call it; default: the beginning of its hash."""
    residency: str | None = None
    """Where the data of whoever sends this key must stay, beside what its tenant says."""
    models: OneOrMore[Glob] | None = None
    """What it may use of what its tenant may; default: all of that."""
    priority: Priority | None = None
    """The highest it may ask for; default: as its tenant."""
    tags: Listed[Name] = ()
    """Beside those of its tenant."""
    expires: Instant | None = None
    """From when on it opens nothing: an ISO 8601 time with its offset, such as 2027-01-01T00:00:00Z."""
    limits: LimitsIn | None = None
    """How much it may ask for, beside what its tenant may."""
    budgets: Listed[BudgetIn] = ()
    """What it may spend, beside what its tenant may."""


class KeyIn(KeyTerms):
    """One key. Its hash alone may stand for it."""

    hash: Annotated[str, Field(pattern=KEYED_HASH)]
    """HMAC-SHA256 of the key under the gateway's pepper, in hex; `gateway keys hash` makes both."""

    @model_validator(mode="before")
    @classmethod
    def by_hash(cls, value: Any) -> Any:
        return {"hash": value} if isinstance(value, str) else value


class HookIn(Strict):
    """Where it is told how a tenant's jobs ended, in the form of Standard Webhooks."""

    url: WebhookUrl | None = None
    """Default: where a request itself says, in X-Gateway-Webhook."""
    secret: str | None = None
    """`${env:NAME}` or `${file:PATH}`: `whsec_` and base64; default: GATEWAY_WEBHOOK_SECRET signs."""


class TenantIn(Strict):
    """Who pays, the keys that say so, and what they may do."""

    name: Name
    """What rules, receipts and metrics call it."""
    keys: Listed[Annotated[KeyIn, OrText(KEYED_HASH)]] = ()
    """The keyed hash of each key, or `{hash, id, residency, ...}`; `gateway keys new` makes more at run time."""
    demo: bool = False
    """Gives the key `demo` to this tenant; only while every managed backend is simulated."""
    models: OneOrMore[Glob] | None = None
    """What it may use; default: all."""
    residency: str | None = None
    """Where its data must stay: `local`, a zone, or several separated by commas."""
    priority: Priority = "interactive"
    """The highest it may ask for."""
    tags: Listed[Name] = ()
    """What rules may match it by."""
    weight: Positive = 1.0
    """Its share of a line, beside other tenants of its class that wait."""
    limits: LimitsIn | None = None
    """How much all its keys together may ask for."""
    budgets: Listed[BudgetIn] = ()
    """What all its keys together may spend."""
    webhook: HookIn | None = None
    """Where it is told how its jobs ended."""


class TenantsFile(Strict):
    """tenants.yaml: who may call, and what each may do."""

    tenants: Annotated[tuple[TenantIn, ...], Field(min_length=1)]
    """As soon as there is one, callers without a known key are refused."""
    oidc: tuple[IssuerIn, ...] = ()
    """Whose tokens (JWT) stand for a key."""


FILES: Final[dict[str, type[Strict]]] = {
    "backends.yaml": BackendsFile,
    "models.yaml": ModelsFile,
    "routing.yaml": RoutingFile,
    "tenants.yaml": TenantsFile,
    "budgets.yaml": BudgetsFile,
    "prices.yaml": PricesFile,
}
REQUIRED: Final = ("backends.yaml", "models.yaml", "routing.yaml")
