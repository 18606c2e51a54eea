"""Every setting, from the environment (`RETRAINING_` prefix) or `config.toml` in the home."""

import os
import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Self

from pydantic import ByteSize, Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from retraining.catalog.resources import MIB, Resources

SIGNATURES = frozenset(
    {f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)} | {"EdDSA"}
)
"""Of a private key alone: with a shared secret, who can check a token could make one."""
MEMORY = "memory"


class Settings(BaseSettings):
    """The product's settings. The environment wins over `config.toml` in the home."""

    model_config = SettingsConfigDict(env_prefix="RETRAINING_", frozen=True, extra="ignore")

    home: Path = Field(Path(".retraining"), description="Folder of databases, artifacts, keys and logs.")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Models beside the installed ones: package.module:attribute, several with commas."
    )
    models_path: Annotated[tuple[Path, ...], NoDecode] = Field(
        default_factory=lambda: (Path.cwd(),),
        description="Folders where modules of `models` are looked for that are not installed; several with "
        "the system's path separator. The working folder unless set; that of `retraining up` in its jobs.",
    )
    database_url: str | None = Field(
        None, description="The facade's database; SQLite in the home unless set (postgresql+asyncpg://...)."
    )
    prefect_api_url: str | None = Field(
        None, description="Prefect's API; PREFECT_API_URL if that is set, else http://127.0.0.1:4200/api."
    )
    mlflow_url: str | None = Field(
        None, description="MLflow's address; MLFLOW_TRACKING_URI if that is set, else http://127.0.0.1:5000."
    )
    work_pool: str = Field("retraining", description="The Prefect work pool that runs the jobs.")
    warm_start: bool = Field(
        True,
        description="Whether jobs start in a fork of an interpreter that has everything imported (Linux): a "
        "second after they are created instead of five to ten.",
    )
    job_threads: int | None = Field(
        None, ge=1, le=1024, description="Threads a job may train with, unless its model says otherwise."
    )
    job_memory: ByteSize | None = Field(
        None, ge=64 * MIB, description="Memory a job may hold (`4 GiB`), unless its model says otherwise."
    )
    job_time_limit: timedelta | None = Field(
        None,
        gt=timedelta(0),
        description="How long a job may work (seconds, or `PT2H`), unless its model says otherwise.",
    )
    cancel_grace_seconds: float = Field(
        30, ge=0, le=3600, description="How long a cancelled job may take to stop before it is forced to."
    )
    reconcile_seconds: float = Field(
        15, gt=0, le=3600, description="How often the jobs table is compared with Prefect, beside the events."
    )
    heartbeat_seconds: float = Field(
        15, gt=0, le=300, description="How often a silent stream of events says that it is alive."
    )
    max_followers: int = Field(
        200,
        ge=1,
        le=100_000,
        description="How many callers may follow events at the same time; others get 503.",
    )
    max_body_bytes: int = Field(1024 * 1024, ge=1024, description="The largest request body.")
    database_busy_seconds: float = Field(
        2.0, gt=0, le=60, description="How long a locked database is waited for before 503."
    )

    oidc_issuer: str | None = Field(
        None, description="Whose bearer tokens are accepted beside our API keys: the issuer's https address."
    )
    oidc_audience: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="For whom a token must be made out; several with commas. Needed with an issuer."
    )
    oidc_jwks_url: str | None = Field(
        None, description="Where the issuer's signing keys are; its discovery document says so unless set."
    )
    oidc_algorithms: Annotated[tuple[str, ...], NoDecode] = Field(
        ("RS256", "ES256"), description="With which algorithms tokens may be signed; several with commas."
    )
    oidc_leeway_seconds: float = Field(
        30, ge=0, le=300, description="How much the issuer's clock and ours may differ."
    )
    oidc_name_claim: str = Field("sub", description="The claim that names the caller, for `triggered_by`.")
    oidc_access_claim: str = Field(
        "roles",
        description="The claim with roles (viewer, operator, admin) or scopes; nested: `realm_access.roles`.",
    )
    oidc_models_claim: str | None = Field(
        None,
        description="The claim with the models a caller is limited to, `*` for all; no limits unless set.",
    )

    rate_limit_reads: int = Field(
        1_200,
        ge=0,
        le=1_000_000,
        description="How much a caller may read: requests a minute; 0 for no limit.",
    )
    rate_limit_writes: int = Field(
        120,
        ge=0,
        le=1_000_000,
        description="How much a caller may change: requests a minute; 0 for no limit.",
    )
    rate_limit_address: int = Field(
        3_000,
        ge=0,
        le=1_000_000,
        description="Requests a minute from an address, whoever sends them, and as many probes of `/health` "
        "and `/ready`; 0 for no limit.",
    )
    rate_limit_failures: int = Field(
        20,
        ge=0,
        le=1_000_000,
        description="Wrong credentials a minute from an address; after that none are looked at that come "
        "from there. 0 for no limit.",
    )
    rate_limit_storage: str = Field(
        MEMORY,
        pattern=r"^(memory|rediss?://.+|unix://.+)$",
        description="Where requests are counted: `memory`, or what all replicas share (redis://...).",
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (),
        description="Addresses or networks whose X-Forwarded-For is believed; several with commas. From "
        "all others the address is that of the connection.",
    )

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_networks(cls, value: object) -> object:
        return cls._split_models(value)

    @field_validator("oidc_audience", "oidc_algorithms", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        return cls._split_models(value)

    @model_validator(mode="after")
    def _check_oidc(self) -> Self:
        weak = set(self.oidc_algorithms) - SIGNATURES
        if weak or not self.oidc_algorithms:
            raise ValueError(f"oidc_algorithms: choose of {', '.join(sorted(SIGNATURES))}")
        if self.oidc_issuer is None:
            return self
        if not self.oidc_audience:
            raise ValueError("oidc_audience: an issuer's tokens for other services must not open this one")
        for name in ("oidc_issuer", "oidc_jwks_url"):
            url = getattr(self, name)
            if url is not None and not re.match(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", url):
                raise ValueError(f"{name}: {url} is not https")
        return self

    @field_validator("models", mode="before")
    @classmethod
    def _split_models(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("models_path", mode="before")
    @classmethod
    def _split_folders(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(Path(part).absolute() for part in value.split(os.pathsep) if part)

    @property
    def resources(self) -> Resources:
        """The bounds of every job, unless its model says otherwise."""
        return Resources(threads=self.job_threads, memory=self.job_memory, time_limit=self.job_time_limit)

    @property
    def prefect_api(self) -> str:
        """The address of Prefect's API."""
        return self.prefect_api_url or os.environ.get("PREFECT_API_URL") or "http://127.0.0.1:4200/api"

    @property
    def mlflow(self) -> str:
        """The address of the MLflow server."""
        return self.mlflow_url or os.environ.get("MLFLOW_TRACKING_URI") or "http://127.0.0.1:5000"

    @property
    def database(self) -> str:
        """The address of the facade's database."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home.absolute() / 'retraining.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the home's `config.toml`."""
        home = init_settings().get("home") or os.environ.get("RETRAINING_HOME", ".retraining")
        toml = TomlConfigSettingsSource(settings_cls, toml_file=Path(home) / "config.toml")
        return init_settings, env_settings, toml
