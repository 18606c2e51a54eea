"""One check of one trigger: what was looked at, what was found, and what was done about it.

The monitor keeps every evaluation as a Prefect artifact and tells it in an event; the facade copies it into
its table `retraining_evaluations`. The newest one carries all that the next decision needs (patience,
cooldown), so that a restart forgets nothing.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, computed_field

from retraining.jobs.job import TriggerType


class Outcome(StrEnum):
    """What a check found."""

    QUIET = "quiet"
    BREACHED = "breached"
    NOT_JUDGED = "not_judged"  # too few rows or labels, no champion, no reference
    FAILED = "failed"  # the check itself, with the reason: unreadable data, a model that does not load


class Action(StrEnum):
    """What was done about it."""

    NONE = "none"
    FIRED = "fired"
    HELD_BY_PATIENCE = "held_by_patience"
    HELD_BY_COOLDOWN = "held_by_cooldown"
    DISABLED = "disabled"  # breached, but the trigger is switched off


class ColumnScore(BaseModel):
    """What became of one column. Score, threshold and p-value are null where nothing was compared."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    column: str
    kind: str
    method: str | None
    score: float | None
    threshold: float | None
    p_value: float | None
    drifted: bool
    reason: str


class MetricScore(BaseModel):
    """What became of the metric."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    metric: str
    value: float
    low: float | None
    """95% confidence interval of `value`."""
    high: float | None
    baseline: float | None
    """The champion's score on its own holdout."""
    limit: float
    """The value that counts as bad enough: the threshold, or the baseline less `max_drop`."""
    labels: int
    """Labelled rows; rows if estimated."""
    estimated: bool


class Finding(BaseModel):
    """What a check of the data found, before patience and cooldown are asked."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    outcome: Outcome
    reason: str
    champion_version: str | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    rows: int | None = None
    score: float | None = None
    """The share of columns that drifted, or the metric's value."""
    threshold: float | None = None
    """The share that is needed, or the metric's limit."""
    columns: tuple[ColumnScore, ...] = ()
    metric: MetricScore | None = None

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def breached(self) -> bool:
        """Whether the condition holds."""
        return self.outcome is Outcome.BREACHED


EVALUATION_EXAMPLE: dict[str, Any] = {
    "outcome": "breached",
    "breached": True,
    "reason": "1 of 1 columns drifted: orders",
    "champion_version": "4",
    "window_start": "2026-05-01T00:00:00Z",
    "window_end": "2026-05-04T00:00:00Z",
    "rows": 5120,
    "score": 1.0,
    "threshold": 1.0,
    "columns": [
        {
            "column": "orders",
            "kind": "numeric",
            "method": "wasserstein",
            "score": 0.31,
            "threshold": 0.1,
            "p_value": None,
            "drifted": True,
            "reason": "normalized Wasserstein distance 0.31, threshold 0.1",
        }
    ],
    "id": "0198c2a4-7a10-7c52-8d33-1b0c9a6e2f77",
    "trigger_id": "5f0f1f0e-27d5-4a0b-9d6a-0f8f3f6a7c11",
    "model_name": "churn",
    "trigger_type": "drift",
    "source": "schedule",
    "at": "2026-05-04T00:00:03.410000Z",
    "as_of": "2026-05-04T00:00:00Z",
    "patience": 2,
    "patience_count": 2,
    "in_cooldown": False,
    "last_fired_at": "2026-05-04T00:00:03.410000Z",
    "action": "fired",
    "job_id": "0198c2a4-5d3e-7b61-9c1f-2f0e6f1f4b11",
    "report_url": "http://127.0.0.1:5000/#/experiments/2/runs/0f5c1b/artifacts/report.html",
}


class Identity(BaseModel):
    """Which check of which trigger it was."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    id: UUID
    """Of a check by the monitor: its flow run's id. Of an external signal: made of trigger and key."""
    trigger_id: UUID
    model_name: str
    trigger_type: TriggerType
    source: Literal["schedule", "request", "external"]
    by: str | None = None
    at: datetime
    as_of: datetime


class Evaluation(Finding, Identity):
    """One check of one trigger, as artifact, event, row and JSON. Times are UTC.

    In JSON the fields of the last base come first: which check it was, then what it found.
    """

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [EVALUATION_EXAMPLE]})

    patience: int
    patience_count: int = Field(description="Breaches in a row, this one included.")
    in_cooldown: bool
    cooldown_until: datetime | None = None
    last_fired_at: datetime | None = None
    """When the trigger last fired, this time included: what the next check's cooldown counts from."""
    action: Action
    job_id: UUID | None = None
    """The job that it started or joined; the facade fills it in."""
    report_url: str | None = None
    payload: dict[str, Any] | None = None
    """What an external monitor sent."""
