"""The triggers' SQL. Every function works inside the caller's transaction."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, exists, literal, tuple_
from sqlalchemy.orm import Mapped
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from retraining.jobs.cursor import Position
from retraining.jobs.records import JobCause, SyncMark
from retraining.store.table import UtcDateTime
from retraining.triggers.evaluation import Action
from retraining.triggers.records import TriggerEvaluation
from retraining.triggers.trigger import SHOWN, RetrainingTrigger, TriggerFilter, TriggerPhase


async def find_trigger(session: AsyncSession, trigger_id: UUID) -> RetrainingTrigger | None:
    """The trigger of this id, in whatever phase."""
    return await session.get(RetrainingTrigger, trigger_id)


async def find_triggers(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, RetrainingTrigger]:
    """The triggers among these ids, in whatever phase, by id."""
    found = await session.exec(select(RetrainingTrigger).where(col(RetrainingTrigger.id).in_(ids)))
    return {trigger.id: trigger for trigger in found}


async def undeleted_triggers(session: AsyncSession) -> dict[UUID, RetrainingTrigger]:
    """Every trigger that Prefect may hold something of, by id."""
    query = select(RetrainingTrigger).where(col(RetrainingTrigger.phase) != TriggerPhase.DELETED)
    return {trigger.id: trigger for trigger in await session.exec(query)}


async def forget_trigger(session: AsyncSession, trigger_id: UUID) -> None:
    """Delete the row of a trigger whose creation failed."""
    await session.exec(
        delete(RetrainingTrigger).where(
            col(RetrainingTrigger.id) == trigger_id, col(RetrainingTrigger.phase) == TriggerPhase.ABANDONED
        )
    )


async def page_of_triggers(
    session: AsyncSession,
    wanted: TriggerFilter,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
    among: Collection[str] | None = None,
) -> Sequence[RetrainingTrigger]:
    """Triggers after a position, newest first; of these models alone, if `among` says so."""
    created_at, trigger_id = col(RetrainingTrigger.created_at), col(RetrainingTrigger.id)
    query = (
        select(RetrainingTrigger)
        .where(col(RetrainingTrigger.phase).in_(SHOWN))
        .order_by(created_at.desc(), trigger_id.desc())
        .limit(limit)
        .offset(offset)
    )
    if wanted.model_name is not None:
        query = query.where(col(RetrainingTrigger.model_name) == wanted.model_name)
    if among is not None:
        query = query.where(col(RetrainingTrigger.model_name).in_(sorted(among)))
    if wanted.trigger_type is not None:
        query = query.where(col(RetrainingTrigger.trigger_type) == wanted.trigger_type)
    if after is not None:
        query = query.where(_later_than(created_at, trigger_id, after))
    return (await session.exec(query)).all()


async def find_evaluation(session: AsyncSession, evaluation_id: UUID) -> TriggerEvaluation | None:
    """The evaluation of this id."""
    return await session.get(TriggerEvaluation, evaluation_id)


async def latest_evaluation(session: AsyncSession, trigger_id: UUID) -> TriggerEvaluation | None:
    """The newest evaluation of the trigger, told or not: each counts once."""
    at, evaluation_id = col(TriggerEvaluation.at), col(TriggerEvaluation.id)
    query = select(TriggerEvaluation).where(col(TriggerEvaluation.trigger_id) == trigger_id)
    return (await session.exec(query.order_by(at.desc(), evaluation_id.desc()).limit(1))).first()


async def untold_evaluations(session: AsyncSession, before: datetime) -> Sequence[TriggerEvaluation]:
    """Evaluations from before this moment that Prefect was not told of, oldest first."""
    query = select(TriggerEvaluation).where(
        col(TriggerEvaluation.told).is_(False), col(TriggerEvaluation.at) < before
    )
    return (await session.exec(query.order_by(col(TriggerEvaluation.at)))).all()


async def fired_without_job(
    session: AsyncSession, *, after: datetime, before: datetime
) -> Sequence[TriggerEvaluation]:
    """Breaches that fired then and have no job, of triggers that are live and enabled; oldest first."""
    query = (
        select(TriggerEvaluation)
        .join(RetrainingTrigger, col(RetrainingTrigger.id) == col(TriggerEvaluation.trigger_id))
        .where(
            col(TriggerEvaluation.told).is_(True),
            col(TriggerEvaluation.at) > after,
            col(TriggerEvaluation.at) < before,
            col(TriggerEvaluation.evaluation)["action"].as_string() == Action.FIRED.value,
            col(RetrainingTrigger.phase) == TriggerPhase.LIVE,
            col(RetrainingTrigger.enabled).is_(True),
            ~exists().where(col(JobCause.evaluation_id) == col(TriggerEvaluation.id)),
        )
    )
    return (await session.exec(query.order_by(col(TriggerEvaluation.at)))).all()


async def evaluations_among(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, TriggerEvaluation]:
    """The evaluations among these ids, by id."""
    found = await session.exec(select(TriggerEvaluation).where(col(TriggerEvaluation.id).in_(ids)))
    return {row.id: row for row in found}


async def told_among(session: AsyncSession, ids: Collection[UUID]) -> set[UUID]:
    """Which of these evaluations are recorded, and known to be told."""
    told = select(TriggerEvaluation.id).where(
        col(TriggerEvaluation.id).in_(ids), col(TriggerEvaluation.told).is_(True)
    )
    return set(await session.exec(told))


async def withdraw_evaluation(session: AsyncSession, evaluation_id: UUID) -> None:
    """Delete an evaluation that Prefect was not told of."""
    await session.exec(
        delete(TriggerEvaluation).where(
            col(TriggerEvaluation.id) == evaluation_id, col(TriggerEvaluation.told).is_(False)
        )
    )


async def page_of_evaluations(
    session: AsyncSession, trigger_id: UUID, *, limit: int, offset: int = 0, after: Position | None = None
) -> Sequence[TriggerEvaluation]:
    """Evaluations of a trigger after a position, newest first."""
    at, evaluation_id = col(TriggerEvaluation.at), col(TriggerEvaluation.id)
    query = (
        select(TriggerEvaluation)
        .where(col(TriggerEvaluation.trigger_id) == trigger_id, col(TriggerEvaluation.told).is_(True))
        .order_by(at.desc(), evaluation_id.desc())
        .limit(limit)
        .offset(offset)
    )
    if after is not None:
        query = query.where(_later_than(at, evaluation_id, after))
    return (await session.exec(query)).all()


async def jobs_of_evaluations(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, UUID]:
    """The job that each of these evaluations started or joined, by evaluation id."""
    query = select(JobCause.evaluation_id, JobCause.job_id).where(col(JobCause.evaluation_id).in_(ids))
    # Of two runs for one breach the second joined the job of the first.
    return {evaluation_id: job_id for evaluation_id, job_id in await session.exec(query) if evaluation_id}


async def marks_of(session: AsyncSession, prefix: str) -> dict[str, datetime]:
    """The sync's marks whose names begin like this, by the rest of the name."""
    marks = await session.exec(select(SyncMark).where(col(SyncMark.name).startswith(prefix, autoescape=True)))
    return {mark.name.removeprefix(prefix): mark.at for mark in marks}


def _later_than(moment: Mapped[datetime], row_id: Mapped[UUID], after: Position) -> ColumnElement[bool]:
    place = tuple_(literal(after.created_at, UtcDateTime()), literal(after.id, Uuid()))
    return tuple_(moment, row_id) < place
