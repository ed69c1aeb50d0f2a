"""Settings of the process, from `GATEWAY_*` variables or `.env`. Nothing about routing is here:
that is the policy folder's."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import DirectoryPath, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

from gateway.errors import StartupFault


class Settings(BaseSettings):
    """Every option has a default; docs/settings.md lists them (a test compares)."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", env_file=".env", extra="ignore", frozen=True)

    secrets_dir: DirectoryPath | None = Field(
        None, description="Folder whose files, named as variables, hold what no variable says."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=256, description="Processes that serve the port; about one per core.")
    policies: Path = Field(Path("policies/local-first"), description="The policy folder.")
    zone: str | None = Field(None, description="Where this gateway is: a zone of the policy; unset is unknown.")
    redis_url: SecretStr | None = Field(None, description="Redis or Valkey; unset starts the embedded Valkey.")
    data_dir: Path = Field(Path(".gateway"), description="Where the embedded Valkey keeps its socket and files.")
    audit_key: SecretStr = Field(SecretStr(""), description="Key of the audit's MACs; empty keeps one in data_dir.")
    audit_dir: Path | None = Field(None, description="Where the audit is written; unset: audit/ in data_dir.")
    key_pepper: SecretStr = Field(SecretStr(""), description="Pepper of the keyed hashes in tenants.yaml.")
    policy_key: SecretStr | None = Field(
        None, description="Seals the policies that replicas share; unset, it is derived from the pepper; empty: none."
    )
    admin_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of /metrics, /openapi.json, /docs, /dashboard and /admin; unset: the main port.",
    )
    admin_key: SecretStr | None = Field(
        None, description="The key of /admin/v1; unset answers loopback callers alone.", min_length=16
    )
    agent_token: SecretStr | None = Field(
        None, description="What `gateway agent` shows when it tells of its GPUs; unset: none may.", min_length=16
    )
    worker_token: SecretStr | None = Field(
        None, description="With it workers register themselves; unset: the admin key alone does.", min_length=16
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="Signs what is posted to webhooks; unset: those of budgets are not signed, jobs have none.",
        min_length=16,
    )
    webhook_hosts: str = Field(
        "", description="Globs of hosts, by commas, that webhooks of jobs may reach although they are not public."
    )
    max_body_bytes: int = Field(
        20 << 20, ge=1024, description="Largest request body; a larger one is refused with 413."
    )
    body_seconds: float = Field(30.0, gt=0, description="Longest time for a request body to arrive.")
    upload_bytes: int = Field(
        4 << 30, ge=1024, description="Largest upload of sound, streamed through or kept on disk meanwhile."
    )
    upload_seconds: float = Field(3600.0, gt=0, description="Longest time for an upload of sound to arrive.")
    uploads_floor: int = Field(
        1 << 30, ge=0, description="Bytes of the data folder's disk that uploads which are kept meanwhile leave free."
    )
    session_seconds: float = Field(3600.0, gt=0, description="Longest realtime session.")
    session_idle_seconds: float = Field(300.0, gt=0, description="How long nobody may say anything in one.")
    session_message_bytes: int = Field(16 << 20, ge=1024, description="Largest message of one.")
    head_seconds: float = Field(10.0, gt=0, description="Longest time for a request head, from its first byte.")
    idle_seconds: float = Field(75.0, gt=0, description="How long a connection may stay without a request.")
    send_seconds: float = Field(60.0, gt=0, description="How long a caller may take nothing of its answer.")
    answer_bytes: int = Field(
        16 << 20,
        ge=1024,
        description="Largest non-streamed answer held back for its usage; pictures past it are passed on as they come.",
    )
    result_bytes: int = Field(
        256 << 20, ge=1024, description="Largest answer or result of an order: a picture, a film, a sound."
    )
    image_pixels: int = Field(
        50_000_000, ge=1, description="Most pixels of a picture that is sent along, all its frames together."
    )
    image_urls: Literal["refuse", "fetch"] = Field(
        "refuse", description="What is done with the address of a picture: 400, or a guarded fetch by the gateway."
    )
    chat_urls: Literal["fetch", "check", "refuse"] = Field(
        "fetch",
        description="Addresses of pictures, sound and films in a conversation that a worker of ours may read: fetched "
        "by the gateway under guard, looked at and passed on, or 400.",
    )
    fetches: int = Field(32, ge=1, le=1024, description="Addresses of callers that one process fetches at once.")
    fetches_per_tenant: int = Field(8, ge=1, description="How many of them may be one tenant's; its others wait.")
    fetch_bytes: int = Field(
        256 << 20,
        ge=2048,
        description="Bytes fetched for requests that are not over, in one process; half for one tenant, more get 429.",
    )
    receipts_bytes: int = Field(
        256 << 20, ge=1 << 20, description="Room for receipts in the store; the oldest plain ones go first."
    )
    receipts_hours: float = Field(24.0, gt=0, le=24 * 31, description="Longest life of a receipt.")
    ledger_url: SecretStr | None = Field(
        None, description="The ledger's database; unset: ledger.db in data_dir (SQLite); `none`: no ledger."
    )
    ledger_months: int = Field(24, ge=1, le=1200, description="Whole months that the ledger keeps besides this one.")
    artefacts: str | None = Field(
        None, description="Where results of jobs are kept: a folder, or s3://bucket/prefix; unset: in data_dir."
    )
    artefacts_zone: str | None = Field(
        None, description="Where that is: a zone of the policy; unset: a folder lies in GATEWAY_ZONE, a bucket nowhere."
    )
    artefacts_own: bool = Field(False, description="Whether a bucket is on our own machines, as `local` demands.")
    artefact_bytes: int = Field(
        256 << 20, ge=1024, description="Largest result of a job that is kept; what is fetched has result_bytes."
    )
    artefacts_floor: int = Field(
        1 << 30, ge=0, description="Bytes that stay free on the disk of the folder; below it no job is accepted."
    )
    jobs_key: SecretStr | None = Field(
        None, description="Seals what jobs ask for; unset, it is derived from the pepper.", min_length=16
    )
    jobs_durability: Literal["required", "best"] = Field(
        "best", description="`required`: no start on a store that may lose what it acknowledged."
    )
    jobs_running: int = Field(256, ge=1, le=10_000, description="Jobs that one process works on at once.")
    jobs_per_tenant: int = Field(20_000, ge=1, description="Jobs of one tenant that are not over; more get 429.")
    jobs_bytes: int = Field(
        1 << 30,
        ge=1 << 20,
        description="Room in the store for what jobs that are not over ask for; a tenant has half, more get 503.",
    )
    jobs_longest_seconds: float = Field(3600.0, gt=0, description="From its acceptance on; then a job has expired.")
    jobs_kept_hours: float = Field(24.0, gt=0, le=24 * 31, description="How long a job and what it made are kept.")
    trace_ratio: float = Field(
        0.0, ge=0, le=1, description="Share of requests that are traced where their callers say nothing of it."
    )
    trace_callers: bool = Field(True, description="Whether a caller's `traceparent` says that a request is traced.")
    trace_callers_rate: int = Field(
        50, ge=0, description="How many traces a second that may be for each tenant, in each process."
    )
    otlp_endpoint: str | None = Field(
        None, description="The OpenTelemetry collector, as http://collector:4318; unset: spans go to stderr."
    )
    otlp_headers: SecretStr = Field(
        SecretStr(""), description="What it is shown: name=value, several by commas, or file:PATH."
    )
    otlp_seconds: float = Field(15.0, ge=0.1, description="How often it is sent the metrics.")
    semconv: Literal["old", "new", "both"] = Field(
        "old", description="Names of the GenAI conventions: of v1.41.0, the newest, or both."
    )
    access_log: bool = Field(False, description="Whether each request gets a line in the log.")
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="Least severe line that is logged."
    )
    tls_cert: Path | None = Field(
        None, description="Certificate with its chain (PEM) for clients, read anew when it changes; unset: no TLS."
    )
    tls_key: Path | None = Field(None, description="Its private key (PEM).")
    tls_key_password: SecretStr = Field(SecretStr(""), description="Passphrase of that key; empty: it has none.")
    tls_client_ca: Path | None = Field(
        None, description="Authorities (PEM) one of which a client's certificate must come from; unset: none is asked."
    )
    leave_seconds: float = Field(
        0.0, ge=0, description="After SIGTERM: how long connections are still taken while /readyz says 503."
    )
    grace_seconds: float = Field(20.0, ge=0, description="How long running requests may finish after that.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then `.env`, then the files of `secrets_dir`: the first that says it wins."""
        named = (source().get("secrets_dir") for source in (init_settings, env_settings, dotenv_settings))
        folder = next((Path(name) for name in named if name), None)
        usual = init_settings, env_settings, dotenv_settings
        if folder is None or not folder.is_dir():  # what is wrong with the name is said where it is checked
            return usual
        return *usual, SecretsSettingsSource(settings_cls, secrets_dir=folder)


def load_settings(**given: object) -> Settings:
    """Settings with those `given` values that are not None. Raises StartupFault naming the variable that is wrong."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as fault:
        first = fault.errors(include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise StartupFault(f"GATEWAY_{name}: {first['msg'].lower()}; docs/settings.md says what it takes") from None
    except OSError:
        raise StartupFault("a file of GATEWAY_SECRETS_DIR cannot be read; look at its permissions") from None
