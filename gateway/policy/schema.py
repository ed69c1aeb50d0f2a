"""The files of a policy folder as pydantic models: what may be written, and nothing else.

An unknown key is refused, and so is an option that would have no effect. `compile.py` checks what crosses objects and
files; `jsonschema.py` publishes these models for editors. Docstrings become the descriptions in the editor.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from gateway.model import EndpointName, Priority
from gateway.policy.route_schema import RoutingFile
from gateway.policy.strict import Strict
from gateway.policy.words import (
    HOST,
    KEYED_HASH,
    Count,
    Glob,
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

# backends.yaml


class Zone(Strict):
    """A place where data can be, such as a country, a site or a cloud region."""

    within: Listed[ZoneName] = ()
    """The larger zones that contain this one; what lies in it lies in them, and in theirs."""


class Gpu(Strict):
    """The GPUs of a backend's workers."""

    kind: Name
    """Such as H100: picks the prior of how fast a worker is."""
    usd_per_hour: NotNegative | None = None
    """What one GPU costs."""


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


class UpstreamIn(Strict):
    name: Name
    """Stands once in the whole folder; receipts, metrics and headers tell it."""
    url: str
    """http:// or https://; of a worker without /v1, of a bought API as its provider gives it, /v1 included."""
    key: str | None = None
    """${env:NAME} or ${file:PATH}."""


class LocalUpstream(UpstreamIn):
    """One worker."""

    engine: Literal["vllm", "openai"] = "vllm"
    """`vllm`: publishes its load on /metrics. `openai`: speaks the API and publishes nothing."""
    gpus: Count | None = None
    """How many GPUs it runs on; default: as many as gpu_index names, else 1."""
    gpu_index: Annotated[tuple[Annotated[int, Field(ge=0, le=1023)], ...], Field(min_length=1)] | None = None
    """The `gpu` labels of this worker's GPUs on its DCGM page; default: all GPUs of the page."""
    hostname: Annotated[str, Field(pattern=HOST)] | None = None
    """The `Hostname` label on its DCGM page, where one page shows several hosts."""
    dcgm: str | None = None
    """Address of the node's DCGM exporter page."""
    max_num_seqs: Count = 256
    """The engine's own bound on sequences in one batch."""
    limit_work_s: Positive | None = None
    """Leased work in GPU-seconds that it may hold; replaces the prior. A learned limit starts from it."""


class ManagedUpstream(UpstreamIn):
    """One account at a bought API."""

    max_concurrent: Count = 1000
    """Requests that may be in flight there at once."""


Endpoints = OneOrMore[EndpointName]


PemFile = Annotated[str, Field(min_length=1)]


class TlsIn(Strict):
    """How the https addresses of a backend are secured. PEM files; paths are relative to the policy folder."""

    ca: PemFile | None = None
    """The authorities that are trusted instead of the system's."""
    cert: PemFile | None = None
    """The certificate that we show, with its chain."""
    key: PemFile | None = None
    """Its private key, without a passphrase."""

    @model_validator(mode="after")
    def says_something(self) -> TlsIn:
        if (self.cert is None) != (self.key is None):
            raise ValueError("must set both `cert` and `key`, or neither")
        if self.ca is None and self.cert is None:
            raise ValueError("must set `ca`, or `cert` and `key`, or all three")
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
    upstreams: Annotated[tuple[LocalUpstream, ...], Field(min_length=1)]
    """Its workers: alike, and each as good as the other."""


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
    dialect: Literal["openai"] = "openai"
    """How it speaks: paths, errors, usage."""
    endpoints: Endpoints | None = None
    """What it speaks; default: chat/completions, completions, responses, embeddings. Other requests never go there."""
    tls: TlsIn | None = None
    """How its https addresses are secured; default: the system's authorities, no certificate of ours."""
    private_endpoint_in: Listed[ZoneName] = ()
    """Zones in which this API is a private endpoint of ours: data bound to them may go there if a rule names it."""
    simulated: bool = False
    """A stand-in on loopback that costs nothing."""
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


class PriceIn(Strict):
    """List price in USD."""

    input_per_1m: NotNegative = 0.0
    """Per million prompt tokens."""
    output_per_1m: NotNegative = 0.0
    """Per million output tokens."""
    per_request: NotNegative = 0.0
    """For each request, whatever its length."""

    @model_validator(mode="after")
    def says_something(self) -> PriceIn:
        if not self.model_fields_set:
            raise ValueError(
                "must say at least one of `input_per_1m`, `output_per_1m`, `per_request`; 0 is a price too"
            )
        return self


class ServedIn(Strict):
    """One way to serve a model."""

    backend: Name
    """One of backends.yaml."""
    as_: Annotated[ModelName, Field(alias="as")]
    """The model's name at that backend."""
    price: PriceIn | None = None
    """Required for managed backends."""


class ModelIn(Strict):
    """A name that clients send, and who serves it."""

    name: ModelName
    """The name that clients send."""
    modality: Literal["text"] = "text"
    """What it makes."""
    served_by: Annotated[tuple[ServedIn, ...], Field(min_length=1)]
    """Each backend that serves it; the rules say who is tried when."""
    residency: str | None = None
    """Where every request for it must stay: `local`, a zone, or several separated by commas."""


class ModelsFile(Strict):
    """models.yaml: the public names, and who serves them."""

    models: Annotated[tuple[ModelIn, ...], Field(min_length=1)]
    """What GET /v1/models lists."""


# tenants.yaml


class KeyIn(Strict):
    """One key. Its hash alone may stand for it."""

    hash: Annotated[str, Field(pattern=KEYED_HASH)]
    """HMAC-SHA256 of the key under the gateway's pepper, in hex; `gateway keys` makes it."""
    residency: str | None = None
    """Where the data of whoever sends this key must stay, beside what its tenant says."""

    @model_validator(mode="before")
    @classmethod
    def by_hash(cls, value: Any) -> Any:
        return {"hash": value} if isinstance(value, str) else value


class TenantIn(Strict):
    """Who pays, the keys that say so, and what they may do."""

    name: Name
    """What rules, receipts and metrics call it."""
    keys: Listed[Annotated[KeyIn, OrText(KEYED_HASH)]] = ()
    """The keyed hash of each key, or `{hash, residency}`."""
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

    @model_validator(mode="after")
    def has_a_key(self) -> TenantIn:
        if not self.keys and not self.demo:
            raise ValueError("has neither `keys` nor `demo: true`, so nobody could be this tenant")
        return self


class TenantsFile(Strict):
    """tenants.yaml: who may call, and what each may do."""

    tenants: Annotated[tuple[TenantIn, ...], Field(min_length=1)]
    """As soon as one has a key, callers without a known key are refused."""


FILES: Final[dict[str, type[Strict]]] = {
    "backends.yaml": BackendsFile,
    "models.yaml": ModelsFile,
    "routing.yaml": RoutingFile,
    "tenants.yaml": TenantsFile,
}
REQUIRED: Final = ("backends.yaml", "models.yaml", "routing.yaml")
