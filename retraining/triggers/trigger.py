"""The trigger: its table, and what a caller sends and gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, StrictBool
from pydantic import Field as Described
from sqlalchemy import Index
from sqlmodel import Field

from retraining.jobs.job import TriggerType, TriggerWord
from retraining.store.table import JsonObject, Table, UtcDateTime, Word


class TriggerPhase(StrEnum):
    """Where a trigger is between this table and Prefect.

    Whoever orders something of Prefect says so here first; what a crash left half done is ended by the sync.
    """

    CREATING = "creating"
    ABANDONED = "abandoned"  # its creation failed: no trace of it is to stay
    LIVE = "live"
    CHANGING = "changing"  # Prefect is to be told what the row says
    REMOVING = "removing"
    DELETED = "deleted"  # kept for its history


SHOWN = (TriggerPhase.LIVE, TriggerPhase.CHANGING)
"""The phases of triggers that exist for who asks."""
STALE = timedelta(minutes=1)
"""A step under way for longer was left by a process that died."""


class PhaseWord(Word):
    """A column of phases."""

    cache_ok = True
    words = TriggerPhase


class RetrainingTrigger(Table, table=True):
    """One trigger of one model: a Prefect schedule, or a monitor's and its automation. Times are UTC."""

    __tablename__ = "retraining_triggers"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "model_name", "created_at", "id"),
        Index(None, "trigger_type", "created_at", "id"),
        Index(None, "phase"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    """Ours; of a schedule that people made in Prefect, the schedule's."""
    model_name: str
    trigger_type: TriggerType = Field(sa_type=TriggerWord)
    trigger_condition: dict[str, Any] = Field(sa_type=JsonObject)
    enabled: bool = True
    """Whether it is switched on itself."""
    paused: bool = False
    """Its whole deployment is paused in Prefect: it is as if disabled, and as it was when that ends."""
    created_by: str
    """The caller, or `prefect` for a schedule made there."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    phase: TriggerPhase = Field(default=TriggerPhase.LIVE, sa_type=PhaseWord, exclude=True)
    phase_since: datetime | None = Field(default=None, sa_type=UtcDateTime, exclude=True)
    origin: str = "api"
    """`api`: made through the facade, which puts back what gets lost in Prefect. `prefect`: made there."""

    def age(self, now: datetime) -> timedelta:
        """How long it has been in its phase."""
        return timedelta.max if self.phase_since is None else now - self.phase_since


class TriggerPublic(BaseModel):
    """One trigger of one model, as callers see it. Times are UTC."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {
                    "id": "5f0f1f0e-27d5-4a0b-9d6a-0f8f3f6a7c11",
                    "model_name": "churn",
                    "trigger_type": "scheduled",
                    "trigger_condition": {
                        "cron": "30 2 * * *",
                        "timezone": "Europe/Berlin",
                        "every": None,
                        "missed_runs": "latest",
                    },
                    "enabled": True,
                    "paused": False,
                    "created_by": "ada",
                    "created_at": "2026-10-23T08:00:00.120000Z",
                    "updated_at": "2026-10-23T08:00:00.120000Z",
                    "origin": "api",
                    "next_runs": [
                        "2026-10-24T00:30:00Z",
                        "2026-10-25T00:30:00Z",
                        "2026-10-26T01:30:00Z",
                        "2026-10-27T01:30:00Z",
                        "2026-10-28T01:30:00Z",
                    ],
                }
            ]
        },
    )

    id: UUID
    model_name: str
    trigger_type: TriggerType = Described(description="scheduled, drift or performance.")
    trigger_condition: dict[str, Any] = Described(
        description="When it fires, defaults included; of a schedule made in Prefect, what Prefect holds."
    )
    enabled: bool = Described(description="Whether it fires by itself; false while it is paused, too.")
    paused: bool = Described(
        description="Whether its whole deployment is paused in Prefect; resumed there, it is as it was."
    )
    created_by: str = Described(description="The caller, or `prefect` for a schedule made there.")
    created_at: datetime
    updated_at: datetime
    origin: Literal["api", "prefect"] = Described(description="Where it was made.")
    next_runs: list[datetime] = Described(
        description="The next five times when it is due, or is checked; none while it is disabled."
    )

    @staticmethod
    def of(trigger: RetrainingTrigger, next_runs: Sequence[datetime]) -> "TriggerPublic":
        """The row as it is shown."""
        # Not validated: the row was, and lists of a thousand are to be quick.
        shown = {name: getattr(trigger, name) for name in TriggerPublic.model_fields if name != "next_runs"}
        shown["enabled"] = trigger.enabled and not trigger.paused
        return TriggerPublic.model_construct(**shown, next_runs=list(next_runs))


@dataclass(frozen=True)
class TriggerPage:
    """One page of triggers, newest first."""

    triggers: Sequence[TriggerPublic]
    next_cursor: str | None
    """Continues after the last trigger of this page; None at the end."""


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
    enabled: StrictBool = Described(True, description="Whether it fires by itself.")


class TriggerChange(BaseModel):
    """What is to change of a trigger; what is left out stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: StrictBool | None = Described(None, description="Whether it fires by itself.")
    trigger_condition: dict[str, Any] | None = Described(None, description="The whole new condition.")


class TriggerFilter(BaseModel):
    """Which triggers a list shows; None shows all."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str | None = None
    trigger_type: TriggerType | None = None
