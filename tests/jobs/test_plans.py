"""How the databases answer, on both of them: what makes a million jobs as quick as a thousand."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Select, event
from sqlmodel.ext.asyncio.session import AsyncSession

from retraining.jobs import repository
from retraining.jobs.cursor import Position
from retraining.jobs.job import JobFilter
from retraining.jobs.reading import page_query
from retraining.store.database import Database
from retraining.triggers import repository as triggers
from tests.jobs.history import DAY, NEWEST, analyze, fill, model
from tests.jobs.news import START
from tests.jobs.test_repository import an_event

Question = Callable[[AsyncSession], Awaitable[object]]
FILTERS = {"model_name": model(1), "status": "failed", "trigger_type": "drift"}
PLACE = Position(NEWEST - timedelta(days=1), UUID(int=5))
SOME = [UUID(int=1), UUID(int=2)]


async def plan_of(database: Database, ask: Question) -> str:
    """How the database would answer, were its tables large."""
    asked: list[tuple[str, Any]] = []
    async with database.session() as session:
        connection = await session.connection()
        assert connection.sync_connection is not None
        postgres = connection.dialect.name == "postgresql"
        if postgres:
            # In tables of few rows a scan is best: it is left for what no index can do.
            for switch in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
                await connection.exec_driver_sql(f"SET LOCAL {switch} = off")
        event.listen(
            connection.sync_connection,
            "before_cursor_execute",
            lambda *call: asked.append((call[2], call[3])),
        )
        await ask(session)
        statement, values = asked[0]
        explain = "EXPLAIN " if postgres else "EXPLAIN QUERY PLAN "
        lines = (await connection.exec_driver_sql(explain + statement, values)).all()
    return "\n".join(str(part) for line in lines for part in line)


async def _ask(query: Select[Any], values: dict[str, Any], session: AsyncSession) -> None:
    await (await session.connection()).execute(query, values)


async def test_a_page_is_read_from_an_index_without_sorting(database: Database) -> None:
    """All of it is found in one index, in order: no job is read that the page does not show."""
    await fill(database, 5 * DAY, models=2)
    for wanted in (chosen for count in range(4) for chosen in combinations(FILTERS, count)):
        chosen = JobFilter.model_validate({name: FILTERS[name] for name in wanted})
        plan = await plan_of(database, partial(_ask, *page_query(chosen, limit=10, after=PLACE)))
        assert "TEMP B-TREE" not in plan
        assert "Sort" not in plan
        assert "Filter" not in plan
        index = "_".join(["ix_retraining_jobs", *wanted, "created_at_id"])
        assert re.search(rf"\b{index}\b", plan)
        # The cursor's place and each filter's value are looked up, not searched for row by row.
        looked_up = re.search(r"Index Cond: .*|USING INDEX \w+ .*", plan)
        assert looked_up is not None
        assert re.search(r"ROW\(created_at, id\) <|\(created_at,id\)<", looked_up[0])
        assert all(re.search(rf"\b{name}\b\)?(::text)? ?=", looked_up[0]) for name in wanted)


QUESTIONS: dict[str, Question] = {
    "a job": lambda session: repository.find_job(session, SOME[0]),
    "jobs of news": lambda session: repository.find_jobs(session, SOME),
    "which are over": lambda session: repository.finished_among(session, SOME),
    "which are with a job": lambda session: repository.causes_among(session, SOME),
    "what joined a job": lambda session: repository.causes_with(session, SOME[0]),
    "jobs of breaches": lambda session: triggers.jobs_of_evaluations(session, SOME),
    "what waits or runs of a model": lambda session: repository.unfinished_job_of(session, "churn"),
    "news for the feed": lambda session: repository.events_after(session, 5, None, 10),
    "a job's news": lambda session: repository.events_after(session, 5, SOME[0], 10),
    "whether a job's news ended": lambda session: repository.ended_until(session, SOME[0], 5),
    "old progress": lambda session: repository.forget_progress(session, START),
    "a reservation": lambda session: repository.find_request(session, "ci", "key"),
    "what is asked of Prefect now": lambda session: repository.request_under_way(session, "churn", START),
    "old reservations": lambda session: repository.forget_requests(session, START),
    "evaluations": lambda session: triggers.page_of_evaluations(
        session, SOME[0], limit=10, after=Position(START, SOME[1])
    ),
    "the latest evaluation": lambda session: triggers.latest_evaluation(session, SOME[0]),
    "untold evaluations": lambda session: triggers.untold_evaluations(session, START),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_what_is_asked_again_and_again_reads_no_whole_table(database: Database, question: str) -> None:
    plan = await plan_of(database, QUESTIONS[question])
    assert re.search(r"Index Cond|\bSEARCH\b", plan)
    assert not re.search(r"Seq Scan|\bSCAN\b", plan)


async def test_forgetting_old_progress_passes_over_what_stays(database: Database) -> None:
    """States stay for ever, and this runs at every comparison with Prefect."""
    plan = await plan_of(database, QUESTIONS["old progress"])
    assert "ix_retraining_job_events_progress_at" in plan


async def test_the_newest_event_is_found_at_the_end_of_an_index(database: Database) -> None:
    async with database.write() as session:
        session.add_all(an_event(str(number)) for number in range(200))
    await analyze(database)  # to look through a table that was counted as empty would be as good
    plan = await plan_of(database, repository.last_event_id)
    assert re.search(r"Limit[\s\S]*Index Only Scan Backward|SEARCH retraining_job_events", plan)


@pytest.mark.parametrize("analyzed", [False, True])
async def test_what_waits_or_runs_is_found_among_nothing_else(database: Database, analyzed: bool) -> None:
    """Asked every second; a database that has counted believes that a status tells jobs badly apart."""
    await fill(database, 2 * DAY)
    if analyzed:
        await analyze(database)
    cancels = partial(repository.overdue_cancels, asked_before=START)
    for question in (repository.unfinished_ids, cancels):
        plan = await plan_of(database, question)
        assert re.search(r"USING (COVERING )?INDEX ix_\w+ \(status=|ix_retraining_jobs_unfinished", plan)
