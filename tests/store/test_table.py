"""Columns mean the same on both databases."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy.exc import StatementError
from sqlmodel import Field, SQLModel, select

from retraining.jobs.job import RetrainingJob, TriggerType
from retraining.jobs.status import RetrainingStatus
from retraining.store.database import Database
from retraining.store.schema import metadata
from retraining.triggers.trigger import RetrainingTrigger

NOW = datetime(2026, 5, 4, 8, tzinfo=UTC)


def job(**changes: object) -> RetrainingJob:
    facts: dict[str, object] = {
        "id": uuid4(),
        "model_name": "churn",
        "status": RetrainingStatus.PENDING,
        "triggered_by": "ci",
        "trigger_type": TriggerType.MANUAL,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return RetrainingJob(**{**facts, **changes})


async def test_a_job_comes_back_as_it_was_written(database: Database) -> None:
    written = job(
        parameters={"iterations": 200, "rate": 0.05, "names": ["ä", "\U0001f600"], "none": None},
        as_of=NOW,
        promoted=False,
        progress=0.25,
        error_message="x" * 10_000,
    )
    expected = written.model_dump()
    async with database.write() as session:
        session.add(written)
    async with database.session() as session:
        read = (await session.exec(select(RetrainingJob))).one()
    assert read.model_dump() == expected
    assert isinstance(read.status, RetrainingStatus)


async def test_a_trigger_comes_back_as_it_was_written(database: Database) -> None:
    written = RetrainingTrigger(
        model_name="churn",
        trigger_type=TriggerType.SCHEDULED,
        trigger_condition={"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
        created_by="ci",
        created_at=NOW,
        updated_at=NOW,
    )
    expected = written.model_dump()
    async with database.write() as session:
        session.add(written)
    async with database.session() as session:
        assert (await session.exec(select(RetrainingTrigger))).one().model_dump() == expected


async def test_a_word_outside_the_enumeration_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="paused"):
        async with database.write() as session:
            session.add(job(status="paused"))


def test_a_host_applications_tables_stay_out_of_ours() -> None:
    class Customer(SQLModel, table=True):
        id: int = Field(primary_key=True)

    assert "customer" not in metadata().tables
    assert not any(name.startswith("retraining_") for name in SQLModel.metadata.tables)
