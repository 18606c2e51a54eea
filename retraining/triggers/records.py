"""The table of evaluations: every check of every trigger, also of those deleted since."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from retraining.jobs.job import TriggerType, TriggerWord
from retraining.store.table import JsonObject, Table, UtcDateTime


class TriggerEvaluation(Table, table=True):
    """One evaluation, as `retraining.triggers.evaluation.Evaluation` describes it."""

    __tablename__ = "retraining_evaluations"
    __table_args__ = (Index(None, "trigger_id", "at", "id"), Index(None, "told", "at"))

    id: UUID = Field(primary_key=True)
    trigger_id: UUID
    model_name: str
    trigger_type: TriggerType = Field(sa_type=TriggerWord)
    at: datetime = Field(sa_type=UtcDateTime)
    evaluation: dict[str, Any] = Field(sa_type=JsonObject)
    """The whole of it, but the job: `JobCause` knows which one it started or joined."""
    told: bool = True
    """Whether Prefect knows of it. One that the facade made counts for the next decision before that."""
    digest: str | None = None
    """SHA-256 of the signal that it was made of, to know a repetition by."""
