"""A long history of jobs, written with SQL: a day's jobs, and the same day again as often as needed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import text

from retraining.jobs.job import RetrainingJob, TriggerType
from retraining.jobs.records import SyncMark
from retraining.jobs.status import RetrainingStatus
from retraining.jobs.sync import FINISHED_MARK
from retraining.store.database import Database

DAY = 1_000
"""Jobs of one day."""
MODELS = 500
RARE = 3
"""Jobs of the rare model, of the rare status and of the rare trigger type; they are the oldest of all."""
RARE_MODEL = "rare"
NEWEST = datetime(2026, 5, 4, 8, tzinfo=UTC)
DAYS_AT_ONCE = 50
"""Days of one transaction: PostgreSQL's patience with a statement is bounded."""


def model(number: int) -> str:
    """The name of a model."""
    return f"model-{number:03}"


def a_day(models: int) -> Iterator[RetrainingJob]:
    """The jobs of the newest day, every one over."""
    rng = Random(0)
    for number in range(DAY):
        yield _job(
            rng,
            model_name=model(number % models),
            status=RetrainingStatus.COMPLETED if rng.random() < 0.95 else RetrainingStatus.FAILED,
            trigger_type=rng.choices(
                (TriggerType.MANUAL, TriggerType.SCHEDULED, TriggerType.DRIFT), (1, 8, 1)
            )[0],
            created_at=NEWEST - timedelta(days=1) * number / DAY,
        )


def _rare(oldest: datetime) -> Iterator[RetrainingJob]:
    rng = Random(1)
    for number in range(RARE):
        yield _job(
            rng,
            model_name=RARE_MODEL,
            status=RetrainingStatus.CANCELLED,
            trigger_type=TriggerType.PERFORMANCE,
            created_at=oldest - timedelta(minutes=number),
        )


def _job(rng: Random, *, created_at: datetime, **facts: Any) -> RetrainingJob:
    job_id = UUID(int=rng.getrandbits(128))
    at = created_at.isoformat()
    return RetrainingJob(
        **facts,
        id=job_id,
        triggered_by=f"trigger:{job_id}",
        causes=[{"type": str(facts["trigger_type"]), "at": at, "by": "trigger", "run_id": str(job_id)}],
        parameters={"iterations": 200, "learning_rate": 0.1},
        correlation_id=f"{rng.getrandbits(64):016x}",
        created_at=created_at,
        updated_at=created_at + timedelta(seconds=40),
        started_at=created_at + timedelta(seconds=1),
        completed_at=created_at + timedelta(seconds=40),
        stage="promoting",
        progress=1.0,
        model_version_before="3",
        model_version_after="4",
        challenger_version="4",
        promoted=True,
        decision="promoted: roc_auc 0.824 against the champion's 0.794",
        mlflow_run_url=f"http://127.0.0.1:5000/#/experiments/1/runs/{job_id.hex}",
        progress_mark=f"{at} {job_id}",
    )


INDEXES = sorted(RetrainingJob.__table__.indexes, key=lambda index: index.name or "")  # type: ignore[attr-defined]  # SQLModel's classes do not tell
MOMENTS = ("created_at", "updated_at", "started_at", "completed_at")
COPIED = ", ".join(name for name in RetrainingJob.model_fields if name not in {"id", *MOMENTS})
DAYS = {
    "sqlite": "WITH RECURSIVE days(ago) AS (SELECT {0} UNION ALL SELECT ago - 1 FROM days WHERE ago > {1}) ",
    "postgresql": "WITH days AS (SELECT generate_series({0}, {1}, -1) AS ago) ",
}
NEW_ID = {"sqlite": "lower(hex(randomblob(16)))", "postgresql": "gen_random_uuid()"}
EARLIER = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', {0}, '-' || ago || ' days') || '000'",
    "postgresql": "{0} - ago * interval '1 day'",
}


async def fill(database: Database, jobs: int, models: int = MODELS) -> None:
    """So many jobs, the newest at `NEWEST`, and the rare ones."""
    days = jobs // DAY
    async with database.write() as session:
        connection = await session.connection()
        kind = connection.dialect.name
        session.add_all([*_rare(NEWEST - timedelta(days=days + 1)), *a_day(models)])
        # Nothing is left for the sync to look for in Prefect.
        session.add(SyncMark(name=FINISHED_MARK, at=datetime.now(UTC)))
        for index in INDEXES:
            await connection.run_sync(index.drop)
    earlier = ", ".join(EARLIER[kind].format(name) for name in MOMENTS)
    day = (
        f"SELECT * FROM retraining_jobs WHERE created_at > '{NEWEST - timedelta(days=1)}' ORDER BY created_at"
    )
    for last in range(days - 1, 0, -DAYS_AT_ONCE):
        first = max(last - DAYS_AT_ONCE + 1, 1)
        await _run(
            database,
            f"INSERT INTO retraining_jobs (id, {', '.join(MOMENTS)}, {COPIED}) "
            f"{DAYS[kind].format(last, first)} SELECT {NEW_ID[kind]}, {earlier}, {COPIED} "
            f"FROM days CROSS JOIN ({day}) AS day",
        )
    for index in INDEXES:
        async with database.write() as session:
            await (await session.connection()).run_sync(index.create)
    if kind == "postgresql":
        await analyze(database)  # as it does by itself, a little later


async def analyze(database: Database) -> None:
    """Have the database count what is in its tables, for its plans."""
    await _run(database, "ANALYZE")


async def _run(database: Database, statement: str) -> None:
    async with database.write() as session:
        await (await session.connection()).execute(text(statement))
