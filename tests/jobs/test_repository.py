"""The jobs' SQL, on both databases."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from sqlmodel import SQLModel

from retraining.jobs import reading, repository
from retraining.jobs.cursor import Position
from retraining.jobs.job import JobFilter, JobSnapshot, RetrainingJob, TriggerType
from retraining.jobs.records import EventKind, JobEvent, StartRequest
from retraining.jobs.status import RetrainingStatus
from retraining.store.database import Database
from tests.jobs.news import START, after


def a_job(number: int, **facts: Any) -> RetrainingJob:
    facts = {
        "id": UUID(int=Random(number).getrandbits(128)),
        "model_name": "churn",
        "status": RetrainingStatus.COMPLETED,
        "triggered_by": "ci",
        "trigger_type": TriggerType.MANUAL,
        "created_at": after(number),
        "updated_at": START,
        **facts,
    }
    return RetrainingJob(**facts)


async def add(database: Database, *rows: SQLModel) -> None:
    async with database.write() as session:
        session.add_all(rows)


async def page(database: Database, *, limit: int = 1_000, **wanted: object) -> Sequence[JobSnapshot]:
    after = wanted.pop("after", None)
    assert after is None or isinstance(after, Position)
    return await reading.page_of_jobs(database, JobFilter.model_validate(wanted), limit=limit, after=after)


async def test_jobs_come_newest_first_and_those_of_one_moment_by_id(database: Database) -> None:
    same_moment = [a_job(number, created_at=after(2)) for number in range(20)]
    old, new = a_job(101, created_at=after(1)), a_job(102, created_at=after(3))
    ids = [new.id, *sorted((job.id for job in same_moment), reverse=True), old.id]
    await add(database, *same_moment, old, new)
    assert [job.id for job in await page(database)] == ids


async def test_filters_choose_by_model_and_status(database: Database) -> None:
    await add(
        database,
        a_job(1),
        a_job(2, status=RetrainingStatus.FAILED),
        a_job(3, model_name="profitability", status="failed", trigger_type="drift"),
    )

    async def numbers(**wanted: object) -> list[float]:
        return [(job.created_at - START).total_seconds() for job in await page(database, **wanted)]

    assert await numbers() == [3, 2, 1]
    assert await numbers(model_name="churn") == [2, 1]
    assert await numbers(status="failed") == [3, 2]
    assert await numbers(model_name="churn", status="failed") == [2]
    assert await numbers(trigger_type="drift") == [3]
    assert await numbers(model_name="unheard-of") == []


async def test_a_thousand_jobs_are_paged_without_loss_or_repetition_while_jobs_arrive(
    database: Database,
) -> None:
    """Many share a moment, and new ones come before, between and after the pages."""
    there = [a_job(number, created_at=after(number // 7)) for number in range(1_000)]
    ids = {job.id for job in there}
    await add(database, *there)
    seen: list[UUID] = []
    position, late = None, 1_000
    while jobs := await page(database, limit=97, after=position):
        seen += [job.id for job in jobs]
        position = Position(jobs[-1].created_at, jobs[-1].id)
        await add(database, *(a_job(late + n, created_at=after(t)) for n, t in enumerate([1, 70, 141, 999])))
        late += 4
    assert len(seen) == len(set(seen))
    assert ids <= set(seen)


async def test_a_job_that_waits_or_runs_is_found_by_model(database: Database) -> None:
    running = a_job(1, status=RetrainingStatus.RUNNING)
    waiting = a_job(2, status=RetrainingStatus.PENDING, model_name="profitability")
    await add(database, running, waiting, a_job(3), a_job(4, status=RetrainingStatus.CANCELLED))
    running_id, waiting_id = running.id, waiting.id
    async with database.session() as session:
        assert await repository.unfinished_ids(session) == {running_id, waiting_id}
        assert await repository.unfinished_job_of(session, "churn") == running_id
        assert await repository.unfinished_job_of(session, "profitability") == waiting_id
        assert await repository.unfinished_job_of(session, "other") is None


async def test_only_cancels_of_unfinished_jobs_are_overdue(database: Database) -> None:
    late = a_job(1, status=RetrainingStatus.RUNNING, cancel_requested_at=after(0))
    late_id = late.id
    await add(
        database,
        late,
        a_job(2, status=RetrainingStatus.RUNNING, cancel_requested_at=after(20)),
        a_job(3, status=RetrainingStatus.RUNNING),
        a_job(4, cancel_requested_at=after(0)),
    )
    async with database.session() as session:
        assert await repository.overdue_cancels(session, asked_before=after(10)) == [late_id]


def an_event(source: str, **facts: Any) -> JobEvent:
    facts = {
        "job_id": UUID(int=1),
        "model_name": "churn",
        "at": START,
        "kind": EventKind.STATE,
        "status": RetrainingStatus.RUNNING,
        "source": source,
        **facts,
    }
    return JobEvent(**facts)


async def test_the_log_takes_each_source_once(database: Database) -> None:
    async with database.write(serial="log") as session:
        assert await repository.log(session, [an_event("a"), an_event("b"), an_event("a")]) == 2
    async with database.write(serial="log") as session:
        assert await repository.log(session, [an_event("b"), an_event("c")]) == 1
    async with database.session() as session:
        events = await repository.events_after(session, 0, None, 10)
        assert [one.source for one in events] == ["a", "b", "c"]
        assert await repository.last_event_id(session) == events[-1].id


async def test_an_id_of_the_log_is_never_given_twice(database: Database) -> None:
    """Or a reader that resumes after it would miss its second owner."""
    await add(database, an_event("a", kind=EventKind.PROGRESS))
    async with database.session() as session:
        first = await repository.last_event_id(session)
    async with database.write() as session:
        await repository.forget_progress(session, before=after(1))
    async with database.session() as session:
        assert await repository.last_event_id(session) == 0
    await add(database, an_event("b"))
    async with database.session() as session:
        assert await repository.last_event_id(session) > first


async def test_old_progress_is_forgotten_and_old_states_are_kept(database: Database) -> None:
    old = after(0) - timedelta(days=8)
    await add(
        database,
        an_event("a", at=old),
        an_event("b", at=old, kind=EventKind.PROGRESS),
        an_event("c", kind=EventKind.PROGRESS),
    )
    async with database.write() as session:
        await repository.forget_progress(session, before=START - timedelta(days=7))
    async with database.session() as session:
        assert [one.source for one in await repository.events_after(session, 0, None, 10)] == ["a", "c"]


async def test_a_mark_moves_forwards_only(database: Database) -> None:
    async def moved_to(at: datetime) -> datetime | None:
        async with database.write() as session:
            await repository.move_mark(session, "m", at)
        async with database.session() as session:
            return await repository.read_mark(session, "m")

    assert await moved_to(after(5)) == after(5)
    assert await moved_to(after(9)) == after(9)
    assert await moved_to(after(2)) == after(9)


async def test_old_reservations_are_forgotten(database: Database) -> None:
    def reservation(key: str, at: datetime) -> StartRequest:
        return StartRequest(
            caller="ci", key=key, digest="d", run_key=f"r-{key}", model_name="churn", reserved_at=at
        )

    await add(database, reservation("old", after(0)), reservation("new", after(10)))
    async with database.write() as session:
        await repository.forget_requests(session, before=after(5))
    async with database.session() as session:
        assert await repository.find_request(session, "ci", "old") is None
        assert await repository.find_request(session, "ci", "new") is not None
        assert await repository.find_request(session, "somebody else", "new") is None
