"""Breaches that a team's own monitor reports: they go the way of our own, patience and cooldown included."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

from sqlmodel.ext.asyncio.session import AsyncSession

from retraining.errors import IdempotencyKeyReused, NothingToCheck, StoreUnavailable, Unavailable
from retraining.orchestrator.values import TriggerOrchestrator
from retraining.store.database import Database
from retraining.triggers import repository
from retraining.triggers.condition import MonitorCondition, ScheduledCondition, parse_condition
from retraining.triggers.evaluation import Action, ColumnScore, Evaluation, Finding, Outcome
from retraining.triggers.evaluation_log import EvaluationLog, evaluation_of, row_of
from retraining.triggers.firing import decide_firing
from retraining.triggers.records import TriggerEvaluation
from retraining.triggers.signal import Signal
from retraining.triggers.trigger import RetrainingTrigger

logger = logging.getLogger(__name__)

UNTOLD = timedelta(seconds=10)
"""So long the request itself has to tell Prefect what it decided; then the sync does."""
REMEMBERED = timedelta(hours=24)
"""How long a repeated idempotency key finds its evaluation."""
TICK = timedelta(microseconds=1)


class ExternalBreaches:
    """Turns signals into evaluations.

    A decision is written down before Prefect is told of it: the next signal counts on from it, a repetition
    finds it, and what a crash kept from being told the sync tells later. Telling twice starts nothing more.
    """

    def __init__(
        self,
        database: Database,
        orchestrator: TriggerOrchestrator,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._orchestrator = orchestrator
        self._clock = clock
        self._log = EvaluationLog(database)

    async def report(
        self, trigger: RetrainingTrigger, signal: Signal, *, by: str, idempotency_key: str | None
    ) -> Evaluation:
        """The evaluation of a signal: a new one, or the one that the caller's same key made within 24 hours.

        Raises:
            NothingToCheck, IdempotencyKeyReused, OrchestratorUnavailable, StoreUnavailable.
        """
        condition = parse_condition(trigger.trigger_type, trigger.trigger_condition)
        if isinstance(condition, ScheduledCondition):
            raise NothingToCheck(trigger.id)
        known = await self._known(trigger, signal, by, idempotency_key)
        if known is None:
            # Asked before the transaction, in which nothing but the database is waited for.
            kept = await self._orchestrator.latest_evaluation(trigger.id)
            known = await self._decide(trigger, condition, signal, kept, by, idempotency_key)
        evaluation, told = known
        if not told:
            try:
                await self.tell(evaluation)
            except Unavailable:
                if idempotency_key is not None:
                    raise
                # A repetition would come under another id, and count a second time: so either this one does
                # not count, or, once its breach may have started a job, the sync tells the rest.
                if evaluation.action is not Action.FIRED:
                    await self._withdraw(evaluation.id)
                    raise
            facts = {"trigger_id": str(trigger.id), "evaluation_id": str(evaluation.id), "by": by}
            logger.info("breach reported: %s", evaluation.action, extra=facts)
        return evaluation

    async def tell(self, evaluation: Evaluation) -> None:
        """Tell Prefect, the breach first: an evaluation that is kept says that it fired because it did.

        What Prefect refuses is forgotten; what it has heard the breach of is not.
        """
        announced = False
        try:
            if evaluation.action is Action.FIRED:
                await self._orchestrator.announce_breach(evaluation)
                announced = True
            await self._orchestrator.keep_evaluation(evaluation)
        except Unavailable:
            raise
        except Exception:
            if not announced:
                await self._withdraw(evaluation.id)
                raise
            facts = {"evaluation_id": str(evaluation.id)}
            logger.exception("Prefect does not keep the evaluation of a breach that it took", extra=facts)
        await self._log.tell(evaluation.id)

    async def tell_untold(self, now: datetime) -> None:
        """Tell Prefect what requests decided and could not tell.

        Raises:
            OrchestratorUnavailable, StoreUnavailable: nothing is lost, the next time does the rest.
        """
        async with self._database.session() as session:
            rows = await repository.untold_evaluations(session, before=now - UNTOLD)
        for row in rows:
            try:
                await self.tell(evaluation_of(row))
            except Unavailable:
                raise
            except Exception:
                logger.exception("a breach cannot be told", extra={"evaluation_id": str(row.id)})

    async def _withdraw(self, evaluation_id: UUID) -> None:
        with suppress(StoreUnavailable):
            await self._log.withdraw(evaluation_id)

    async def _known(
        self, trigger: RetrainingTrigger, signal: Signal, by: str, key: str | None
    ) -> tuple[Evaluation, bool] | None:
        if key is None:
            return None
        async with self._database.session() as session:
            row = await self._find(session, _ids(trigger.id, by, key, self._clock()), signal, key)
            if row is None:
                return None
            jobs = await repository.jobs_of_evaluations(session, [row.id])
        return evaluation_of(row, jobs.get(row.id)), row.told

    async def _find(
        self, session: AsyncSession, ids: Sequence[UUID], signal: Signal, key: str
    ) -> TriggerEvaluation | None:
        """What the key made before. Raises IdempotencyKeyReused."""
        rows = await repository.evaluations_among(session, ids)
        young = [row for row in rows.values() if row.at > self._clock() - REMEMBERED]
        row = max(young, key=lambda row: row.at, default=None)
        if row is not None and row.digest not in {None, signal.digest}:
            raise IdempotencyKeyReused(key)
        return row

    async def _decide(
        self,
        trigger: RetrainingTrigger,
        condition: MonitorCondition,
        signal: Signal,
        kept: Evaluation | None,
        by: str,
        key: str | None,
    ) -> tuple[Evaluation, bool]:
        """Decide and write it down, one signal of a trigger after the other; with whether it is told."""
        async with self._database.write(serial=f"evaluations of {trigger.id}") as session:
            now = self._clock()
            ids = [uuid4()] if key is None else _ids(trigger.id, by, key, now)
            row = None if key is None else await self._find(session, ids, signal, key)
            if row is not None:
                return evaluation_of(row), row.told
            newest = await repository.latest_evaluation(session, trigger.id)
            ours = None if newest is None else evaluation_of(newest)
            latest = max((one for one in (ours, kept) if one is not None), key=_age, default=None)
            evaluation = _evaluate(trigger, condition, signal, ids[0], latest, by, now)
            session.add(row_of(evaluation, told=False, digest=signal.digest))
        return evaluation, False


def _ids(trigger_id: UUID, by: str, key: str, now: datetime) -> Sequence[UUID]:
    """What a caller's key is called if it comes today, and what it was called if it came yesterday."""
    days = (now.date(), now.date() - timedelta(days=1))
    return [uuid5(trigger_id, json.dumps([by, key, day.isoformat()])) for day in days]


def _age(evaluation: Evaluation) -> tuple[datetime, UUID]:
    return evaluation.at, evaluation.id


def _evaluate(
    trigger: RetrainingTrigger,
    condition: MonitorCondition,
    signal: Signal,
    evaluation_id: UUID,
    latest: Evaluation | None,
    by: str,
    now: datetime,
) -> Evaluation:
    if latest is not None:
        # Machines' clocks differ; the order of the decisions does not.
        now = max(now, latest.at + TICK)
    finding = Finding(
        outcome=Outcome.BREACHED,
        reason=signal.reason,
        # Who reports it does not know; breaches in a row are counted against one champion.
        champion_version=None if latest is None else latest.champion_version,
        columns=tuple(_score(name, value) for name, value in signal.scores.items()),
    )
    firing = decide_firing(condition, finding, latest, at=now, enabled=trigger.enabled)
    return Evaluation(
        **{**dict(finding), "reason": firing.reason},
        id=evaluation_id,
        trigger_id=trigger.id,
        model_name=trigger.model_name,
        trigger_type=trigger.trigger_type,
        source="external",
        by=by,
        at=now,
        as_of=signal.at or now,
        patience=condition.patience,
        patience_count=firing.patience_count,
        in_cooldown=firing.in_cooldown,
        cooldown_until=firing.cooldown_until,
        last_fired_at=firing.last_fired_at,
        action=firing.action,
        payload=signal.payload,
    )


def _score(name: str, value: float) -> ColumnScore:
    return ColumnScore(
        column=name,
        kind="external",
        method=None,
        score=value,
        threshold=None,
        p_value=None,
        drifted=True,
        reason="reported by an external monitor",
    )
