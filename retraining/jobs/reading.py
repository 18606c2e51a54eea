"""Jobs as they are shown: a page of them or one, each by one query."""

from collections.abc import Collection
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Integer, Select, Table, Uuid, bindparam, select, tuple_

from retraining.jobs.cursor import Position
from retraining.jobs.job import JobFilter, JobSnapshot, RetrainingJob
from retraining.store.database import Database
from retraining.store.table import UtcDateTime

# The table as a whole, not column by column: what a statement is made of is looked through at each use.
JOBS: Table = RetrainingJob.__table__  # type: ignore[attr-defined]  # SQLModel's classes do not tell
NAMES = tuple(JOBS.columns.keys())
_SNAPSHOTS = TypeAdapter(list[JobSnapshot])

# Statements are made once, and asked with values: to make and compare them takes longer than to answer them.
_ONE = select(JOBS).where(JOBS.c.id == bindparam("job_id"))
_NEWEST_FIRST = (JOBS.c.created_at.desc(), JOBS.c.id.desc())
_FITS = {
    "model_name": JOBS.c.model_name == bindparam("model_name"),
    "among": JOBS.c.model_name.in_(bindparam("among", expanding=True)),
    "status": JOBS.c.status == bindparam("status"),
    "trigger_type": JOBS.c.trigger_type == bindparam("trigger_type"),
    "after_id": tuple_(JOBS.c.created_at, JOBS.c.id)
    < tuple_(bindparam("after", type_=UtcDateTime()), bindparam("after_id", type_=Uuid())),
}


async def find_snapshot(database: Database, job_id: UUID) -> JobSnapshot | None:
    """The job of this id, as it is now."""
    found = await _snapshots(database, _ONE, {"job_id": job_id})
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
    query, values = page_query(wanted, limit=limit, offset=offset, after=after, among=among)
    return await _snapshots(database, query, values)


def page_query(
    wanted: JobFilter,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
    among: Collection[str] | None = None,
) -> tuple[Select[Any], dict[str, Any]]:
    """What a page is asked for with: the statement, and its values."""
    values: dict[str, Any] = {
        "model_name": wanted.model_name,
        "among": None if among is None else sorted(among),
        "status": wanted.status,
        "trigger_type": wanted.trigger_type,
        "after": after and after.created_at,
        "after_id": after and after.id,
        "limit": limit,
        "offset": offset or None,
    }
    given = {name: value for name, value in values.items() if value is not None}
    return _page(tuple(given)), given


@cache
def _page(given: tuple[str, ...]) -> Select[Any]:
    """The statement that is asked with values of these names."""
    fits = [_FITS[name] for name in given if name in _FITS]
    limit = bindparam("limit", type_=Integer())
    if "offset" in given:
        # PostgreSQL would fetch every row that it skips.
        skipping = bindparam("offset", type_=Integer())
        page = select(JOBS.c.id).where(*fits).order_by(*_NEWEST_FIRST).limit(limit).offset(skipping)
        return select(JOBS).where(JOBS.c.id.in_(page)).order_by(*_NEWEST_FIRST)
    return select(JOBS).where(*fits).order_by(*_NEWEST_FIRST).limit(limit)


async def _snapshots(database: Database, query: Select[Any], values: dict[str, Any]) -> list[JobSnapshot]:
    rows = await database.read(query, values)
    return _SNAPSHOTS.validate_python([dict(zip(NAMES, row, strict=True)) for row in rows])
