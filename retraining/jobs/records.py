"""The tables behind the jobs: their events, requests that were reserved, and how far the sync has read."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, Integer, text
from sqlmodel import Field

from retraining.jobs.job import StatusWord
from retraining.jobs.status import RetrainingStatus
from retraining.store.table import Table, UtcDateTime, Word


class EventKind(StrEnum):
    """What an event tells: a new status, a cancel that was asked for, or how far the job is."""

    STATE = "state"
    CANCELLING = "cancelling"
    PROGRESS = "progress"


class EventWord(Word):
    """A column of kinds of events."""

    cache_ok = True
    words = EventKind


IS_PROGRESS = text("kind = 'progress'")


class JobEvent(Table, table=True):
    """One change of one job, as the feed delivers it; its id is the `Last-Event-ID`."""

    __tablename__ = "retraining_job_events"
    __table_args__ = (
        Index(None, "job_id", "id"),
        # Of progress alone, which is forgotten after a while: states stay, and are many.
        Index(
            "ix_retraining_job_events_progress_at",
            "at",
            sqlite_where=IS_PROGRESS,
            postgresql_where=IS_PROGRESS,
        ),
        # SQLite would otherwise give an id again after its row was deleted, and a resuming reader miss it.
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(
        default=None,
        sa_column=Column(
            BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
        ),
    )
    job_id: UUID
    model_name: str
    at: datetime = Field(sa_type=UtcDateTime, description="When it happened.")
    kind: EventKind = Field(sa_type=EventWord)
    status: RetrainingStatus = Field(sa_type=StatusWord, description="The job's status then.")
    stage: str | None = None
    progress: float | None = None
    message: str | None = None
    source: str = Field(unique=True, exclude=True)
    """What it tells, in a form that a second writer of the same news would repeat, and is refused."""


class StartRequest(Table, table=True):
    """A request to start a job, reserved before Prefect is asked, so that repeating it finds the same job."""

    __tablename__ = "retraining_requests"

    caller: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: str
    """SHA-256 of the request."""
    run_key: str
    """The idempotency key that Prefect gets: ours, since callers may use theirs again after a day."""
    model_name: str = Field(index=True)
    reserved_at: datetime = Field(sa_type=UtcDateTime, index=True)
    open_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """While an attempt is under way: until when others believe in it."""
    job_id: UUID | None = None


class JobCause(Table, table=True):
    """Which job a cause started or joined: one row for each flow run that brought a cause."""

    __tablename__ = "retraining_job_causes"

    run_id: UUID = Field(primary_key=True)
    """The flow run that brought it: the job's own, or one that joined it."""
    job_id: UUID = Field(index=True)
    trigger_id: UUID | None = Field(default=None, index=True)
    evaluation_id: UUID | None = Field(default=None, index=True)


class SyncMark(Table, table=True):
    """How far the sync has read Prefect's finished runs."""

    __tablename__ = "retraining_sync_marks"

    name: str = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
