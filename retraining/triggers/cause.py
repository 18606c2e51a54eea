"""Why a job was started, or what joined it: a request, a schedule, a breach."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from retraining.jobs.job import TriggerType


class Cause(BaseModel):
    """One cause of a job. A schedule or an automation hands it to the flow as the parameter `cause`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: TriggerType
    trigger_id: UUID | None = None
    """The trigger; None for a request by hand."""
    at: datetime | None = None
    """When it was asked for, was due, or was found. UTC."""
    by: str | None = None
    """Who asked: the caller of a request, or who reported a breach."""
    evaluation_id: UUID | None = None
    """The check that breached. A run whose evaluation already caused a job is a repetition."""
    reason: str | None = None
    scores: dict[str, float] = {}
    """Of the columns that drifted, or of the metric; at most 20."""
    run_id: UUID | None = None
    """The flow run that brought it: the job's own, or the one that joined."""
    missed_runs: Literal["latest", "skip", "all"] = "latest"
    """A schedule's rule for runs that an outage held up."""


def find_cause(value: Any) -> Cause | None:
    """The cause in a run's parameters, None if there is none that can be understood."""
    try:
        return None if value is None else Cause.model_validate(value)
    except ValidationError:
        return None
