"""The job: its table, and what a caller sends and gets."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, field_validator
from pydantic import Field as Described
from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from retraining.jobs.plain import refuse_unstorable
from retraining.jobs.status import RetrainingStatus
from retraining.store.table import JsonObject, Table, UtcDateTime, Word

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)

JOB_EXAMPLE: dict[str, Any] = {
    "id": "0198c2a4-5d3e-7b61-9c1f-2f0e6f1f4b11",
    "model_name": "churn",
    "status": "completed",
    "triggered_by": "ci",
    "trigger_type": "manual",
    "causes": [{"type": "manual", "at": "2026-05-04T08:00:00.120000Z", "by": "ci"}],
    "parameters": {"iterations": 200},
    "as_of": "1998-04-01T00:00:00Z",
    "correlation_id": "7d0c8a1e2b4f4d0e",
    "created_at": "2026-05-04T08:00:00.120000Z",
    "updated_at": "2026-05-04T08:00:41.730000Z",
    "started_at": "2026-05-04T08:00:01.310000Z",
    "completed_at": "2026-05-04T08:00:41.502000Z",
    "error_message": None,
    "cancel_requested_at": None,
    "cancelled_by": None,
    "stage": "promoting",
    "progress": 1.0,
    "model_version_before": "3",
    "model_version_after": "4",
    "challenger_version": "4",
    "promoted": True,
    "decision": "promoted: roc_auc 0.824 against the champion's 0.794",
    "mlflow_run_url": "http://127.0.0.1:5000/#/experiments/1/runs/0f5c1b",
}


class TriggerType(StrEnum):
    """What caused a job. `manual` is a request: REST, the Prefect UI or CLI, or a team's own automation."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    DRIFT = "drift"
    PERFORMANCE = "performance"


class StatusWord(Word):
    """A column of job statuses."""

    cache_ok = True
    words = RetrainingStatus


class TriggerWord(Word):
    """A column of trigger types."""

    cache_ok = True
    words = TriggerType


class JobBase(SQLModel):
    """What a job was asked to do, where it is, and how it ended. Times are UTC."""

    id: UUID = Field(primary_key=True, description="The id of the job and of its Prefect flow run.")
    model_name: str = Field(description="The model that is retrained.")
    status: RetrainingStatus = Field(
        sa_type=StatusWord,
        description="A cancel under way shows as `running` with `cancel_requested_at` set.",
    )
    triggered_by: str = Field(description="The caller, or the schedule or automation that started the job.")
    trigger_type: TriggerType = Field(sa_type=TriggerWord, description="What caused the job.")
    causes: list[dict[str, Any]] = Field(
        default_factory=list,
        sa_type=JsonObject,
        description="Everything that asked for this retraining, the first first: type, trigger_id, at, by, "
        "reason, scores, evaluation_id, run_id; of one job also report_url, the report of a breach.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, sa_type=JsonObject, description="The training parameters that were set."
    )
    as_of: datetime | None = Field(
        None, sa_type=UtcDateTime, description="The moment whose data the job trains on; its start if null."
    )
    correlation_id: str | None = Field(default=None, description="Of the request that created the job.")
    created_at: datetime = Field(
        sa_type=UtcDateTime, description="When it was created, or was due if it was scheduled before."
    )
    updated_at: datetime = Field(sa_type=UtcDateTime, description="When anything here last changed.")
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    completed_at: datetime | None = Field(
        default=None, sa_type=UtcDateTime, description="When it ended, however it ended."
    )
    error_message: str | None = Field(default=None, description="Why it failed or was cancelled.")
    cancel_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancelled_by: str | None = Field(default=None, description="Who asked for the cancel through this API.")
    stage: str | None = Field(default=None, description="The step that was last under way.")
    progress: float | None = Field(default=None, description="How far it is, from 0 to 1.")
    model_version_before: str | None = Field(default=None, description="The champion when the job compared.")
    model_version_after: str | None = Field(default=None, description="The champion when the job ended.")
    challenger_version: str | None = Field(default=None, description="The version that the job registered.")
    promoted: bool | None = Field(default=None, description="Whether the challenger became champion.")
    decision: str | None = Field(default=None, description="What was decided about the challenger, and why.")
    mlflow_run_url: str | None = Field(default=None, description="Where MLflow shows the training.")


IS_UNFINISHED = text("status IN ('pending', 'running')")


class RetrainingJob(JobBase, Table, table=True):
    """One retraining of one model: a Prefect flow run, with the same id."""

    __tablename__ = "retraining_jobs"
    __table_args__ = (
        # One index for each combination of filters, all in the order of the pages: newest first, by key,
        # without a sort. With one of them missing, who looks for a rare job reads a whole table of others.
        Index(None, "created_at", "id"),
        Index(None, "model_name", "created_at", "id"),
        Index(None, "status", "created_at", "id"),
        Index(None, "trigger_type", "created_at", "id"),
        Index(None, "model_name", "status", "created_at", "id"),
        Index(None, "model_name", "trigger_type", "created_at", "id"),
        Index(None, "status", "trigger_type", "created_at", "id"),
        Index(None, "model_name", "status", "trigger_type", "created_at", "id"),
        # What waits or runs is looked for again and again, and is little.
        Index(
            "ix_retraining_jobs_unfinished",
            "model_name",
            sqlite_where=IS_UNFINISHED,
            postgresql_where=IS_UNFINISHED,
        ),
    )
    model_config = {"json_schema_extra": {"examples": [JOB_EXAMPLE]}}

    progress_mark: str | None = Field(default=None, exclude=True)
    """Time and id of the progress event that `stage` and `progress` are of: older news changes nothing."""


class JobSnapshot(JobBase):
    """A job as it was when it was read: what a `RetrainingJob` shows, and nothing that writes it back."""

    # Pydantic's own: SQLModel's, which may meet a row of a table, takes four times as long for each job.
    __init__ = BaseModel.__init__


_NUMBER = re.compile(r"[+-]?[\d_]*\.?\d*(e[+-]?\d+)?", re.IGNORECASE)


def _written_out(moment: object) -> object:
    if isinstance(moment, int | float) or (isinstance(moment, str) and _NUMBER.fullmatch(moment.strip())):
        raise ValueError("is a number; write a moment like 1998-04-01T00:00:00Z")
    return moment


def _in_utc(moment: datetime) -> datetime:
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError("is beyond the calendar") from exc
    if moment < EARLIEST:
        raise ValueError(f"lies before {EARLIEST.year}")
    return moment


Moment = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_in_utc)]
"""A moment in a request: written out, in UTC unless it says otherwise."""
AwareMoment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A moment in a request: written out, with its offset from UTC."""


class RetrainingRequest(BaseModel):
    """A job to be started by hand."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"model_name": "churn", "parameters": {}},
                {
                    "model_name": "profitability",
                    "parameters": {"iterations": 200},
                    "as_of": "1998-04-01T00:00:00Z",
                    "if_running": "reject",
                },
            ]
        },
    )

    model_name: str = Described(min_length=1, max_length=200, description="A model of the catalog.")
    parameters: dict[str, Any] = Described(
        default_factory=dict, description="Training parameters; the model's own class bounds them."
    )
    as_of: Moment | None = Described(
        None, description="Train as if it were this moment, UTC unless it says otherwise; now if left out."
    )
    if_running: Literal["queue", "reject"] = Described(
        "queue", description="If a job of the model is waiting or running: queue behind it, or refuse (409)."
    )

    @field_validator("parameters")
    @classmethod
    def _parameters_can_be_stored(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        refuse_unstorable(parameters)
        return parameters


class RetrainingResponse(BaseModel):
    """A job that was accepted."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {
                    "job_id": JOB_EXAMPLE["id"],
                    "model_name": "churn",
                    "status": "pending",
                    "message": "retraining of churn accepted",
                    "links": {
                        "self": f"/api/retraining/{JOB_EXAMPLE['id']}",
                        "events": f"/api/retraining/{JOB_EXAMPLE['id']}/events",
                        "logs": f"/api/retraining/{JOB_EXAMPLE['id']}/logs",
                        "prefect": f"http://127.0.0.1:4200/runs/flow-run/{JOB_EXAMPLE['id']}",
                        "mlflow": "http://127.0.0.1:5000/#/models/churn",
                    },
                }
            ]
        },
    )

    job_id: UUID
    model_name: str
    status: RetrainingStatus
    message: str
    links: dict[str, str]


class JobFilter(BaseModel):
    """Which jobs a list shows; None shows all."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: str | None = None
    status: RetrainingStatus | None = None
    trigger_type: TriggerType | None = None
