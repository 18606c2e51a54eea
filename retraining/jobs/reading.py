"""Jobs as they are shown: a page of them or one, each by one query."""

from collections.abc import Collection
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Select, Table, Uuid, literal, select, tuple_

from retraining.jobs.cursor import Position
from retraining.jobs.job import JobFilter, JobSnapshot, RetrainingJob
from retraining.store.database import Database
from retraining.store.table import UtcDateTime

# The table as a whole, not column by column: what a statement is made of is looked through at each use.
JOBS: Table = RetrainingJob.__table__  # type: ignore[attr-defined]  # SQLModel's classes do not tell
NAMES = tuple(JOBS.columns.keys())
_SNAPSHOTS = TypeAdapter(list[JobSnapshot])


async def find_snapshot(database: Database, job_id: UUID) -> JobSnapshot | None:
    """The job of this id, as it is now."""
    found = await _snapshots(database, select(JOBS).where(JOBS.c.id == job_id))
    return found[0] if found else None


async def page_of_jobs(
    database: Database,
    wanted: JobFilter,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
    among: Collection[str] | None = None,
) -> list[JobSnapshot]:
    """Jobs after a position, newest first. An offset costs what it skips, if only entries of an index.

    `among` are the only models whose jobs there are for who asks; None for all.
    """
    query = page_query(wanted, limit=limit, offset=offset, after=after, among=among)
    return await _snapshots(database, query)


def page_query(
    wanted: JobFilter,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
    among: Collection[str] | None = None,
) -> Select[tuple[object, ...]]:
    """What a page is asked for with."""
    created_at, job_id = JOBS.c.created_at, JOBS.c.id
    newest_first = (created_at.desc(), job_id.desc())
    fits = []
    if wanted.model_name is not None:
        fits.append(JOBS.c.model_name == wanted.model_name)
    if among is not None:
        fits.append(JOBS.c.model_name.in_(sorted(among)))
    if wanted.status is not None:
        fits.append(JOBS.c.status == wanted.status)
    if wanted.trigger_type is not None:
        fits.append(JOBS.c.trigger_type == wanted.trigger_type)
    if after is not None:
        place = tuple_(literal(after.created_at, UtcDateTime()), literal(after.id, Uuid()))
        fits.append(tuple_(created_at, job_id) < place)
    if offset:
        # PostgreSQL would fetch every row that it skips.
        page = select(job_id).where(*fits).order_by(*newest_first).limit(limit).offset(offset)
        return select(JOBS).where(job_id.in_(page)).order_by(*newest_first)
    return select(JOBS).where(*fits).order_by(*newest_first).limit(limit)


async def _snapshots(database: Database, query: Select[tuple[object, ...]]) -> list[JobSnapshot]:
    rows = await database.read(query)
    return _SNAPSHOTS.validate_python([dict(zip(NAMES, row, strict=True)) for row in rows])
