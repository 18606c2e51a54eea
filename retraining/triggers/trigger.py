"""The trigger's table: what starts jobs of a model without anybody asking."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Index
from sqlmodel import Field

from retraining.jobs.job import TriggerType, TriggerWord
from retraining.store.table import JsonObject, Table, UtcDateTime


class RetrainingTrigger(Table, table=True):
    """One trigger of one model: a Prefect schedule, or a monitor and its automation. Times are UTC."""

    __tablename__ = "retraining_triggers"
    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "model_name", "created_at", "id"),
        Index(None, "trigger_type", "created_at", "id"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    model_name: str
    trigger_type: TriggerType = Field(sa_type=TriggerWord)
    trigger_condition: dict[str, Any] = Field(sa_type=JsonObject)
    enabled: bool = True
    created_by: str
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
