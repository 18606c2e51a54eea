"""What a job looks like that was read to be shown."""

from uuid import UUID

from pydantic import TypeAdapter

from retraining.jobs import reading, repository
from retraining.jobs.job import JobFilter, JobSnapshot, RetrainingJob
from retraining.store.database import Database
from tests.jobs.history import a_day


async def test_a_snapshot_shows_exactly_what_the_row_shows(database: Database) -> None:
    """Name by name, in the same order, and as the same JSON."""
    job = next(a_day(1))
    async with database.write() as session:
        session.add(job.model_copy())
    async with database.session() as session:
        row = await repository.find_job(session, job.id)
    snapshot = await reading.find_snapshot(database, job.id)
    assert isinstance(row, RetrainingJob)
    assert isinstance(snapshot, JobSnapshot)
    assert snapshot.model_dump() == row.model_dump()
    assert snapshot.model_dump_json() == row.model_dump_json()
    page = await reading.page_of_jobs(database, JobFilter(), limit=5)
    assert page == [snapshot]
    assert TypeAdapter(list[JobSnapshot]).dump_json(page).decode() == f"[{row.model_dump_json()}]"


async def test_nobodys_id_finds_nothing(database: Database) -> None:
    assert await reading.find_snapshot(database, UUID(int=1)) is None
