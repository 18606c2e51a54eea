"""Every setting, from the environment (`RETRAINING_` prefix) or `config.toml` in the home."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


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
        False,
        description="Whether jobs start in a fork of an interpreter that has everything imported (Linux): a "
        "second after they are created instead of five to ten.",
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
