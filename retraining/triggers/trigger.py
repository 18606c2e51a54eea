"""The trigger: its table, and what a caller sends and gets."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Described
from sqlalchemy import Index
from sqlmodel import Field

from retraining.jobs.job import TriggerType, TriggerWord
from retraining.store.table import JsonObject, Table, UtcDateTime, Word


class TriggerPhase(StrEnum):
    """Where a trigger is between this table and Prefect; only `live` ones are shown."""

    CREATING = "creating"
    LIVE = "live"
    REMOVING = "removing"
    DELETED = "deleted"


class PhaseWord(Word):
    """A column of phases."""

    cache_ok = True
    words = TriggerPhase


class RetrainingTrigger(Table, table=True):
    """One trigger of one model: a Prefect schedule, or a monitor's schedule and its automation. Times are UTC."""

    __tablename__ = "retraining_triggers"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "model_name", "created_at", "id"),
        Index(None, "trigger_type", "created_at", "id"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    """Ours; of a schedule that people made in Prefect, the schedule's."""
    model_name: str
    trigger_type: TriggerType = Field(sa_type=TriggerWord)
    trigger_condition: dict[str, Any] = Field(sa_type=JsonObject)
    enabled: bool = True
    created_by: str
    """The caller, or `prefect` for a schedule made there."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    phase: TriggerPhase = Field(default=TriggerPhase.LIVE, sa_type=PhaseWord, exclude=True)
    phase_since: datetime | None = Field(default=None, sa_type=UtcDateTime, exclude=True)
    origin: str = "api"
    """`api`: made through the facade, which puts it back if it gets lost in Prefect. `prefect`: made there."""


TRIGGER_EXAMPLE: dict[str, Any] = {
    "model_name": "churn",
    "trigger_type": "drift",
    "trigger_condition": {"window": "30d", "check_every": "1d", "patience": 2, "cooldown": "7d"},
    "enabled": True,
}


class TriggerRequest(BaseModel):
    """A trigger to be created."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {
                    "model_name": "churn",
                    "trigger_type": "scheduled",
                    "trigger_condition": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
                },
                TRIGGER_EXAMPLE,
            ]
        },
    )

    model_name: str = Described(min_length=1, max_length=200, description="A model of the catalog.")
    trigger_type: TriggerType = Described(description="scheduled, drift or performance.")
    trigger_condition: dict[str, Any] = Described(description="When it fires; the keys depend on the type.")
    enabled: bool = True


class TriggerChange(BaseModel):
    """What is to change of a trigger; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool | None = None
    trigger_condition: dict[str, Any] | None = Described(None, description="The whole new condition.")


class TriggerFilter(BaseModel):
    """Which triggers a list shows; None shows all."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str | None = None
    trigger_type: TriggerType | None = None
