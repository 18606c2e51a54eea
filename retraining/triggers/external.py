"""Breaches that a team's own monitor reports: they go the way of our own, patience and cooldown included."""

import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4, uuid5

from retraining.errors import IdempotencyKeyReused, NothingToCheck, StoreUnavailable, Unavailable
from retraining.orchestrator.values import TriggerOrchestrator
from retraining.store.database import Database
from retraining.triggers import repository
from retraining.triggers.condition import MonitorCondition, ScheduledCondition, parse_condition
from retraining.triggers.evaluation import Action, ColumnScore, Evaluation, Finding, Outcome
from retraining.triggers.evaluation_log import EvaluationLog, evaluation_of, row_of
from retraining.triggers.firing import decide_firing
from retraining.triggers.signal import Signal
from retraining.triggers.trigger import RetrainingTrigger

logger = logging.getLogger(__name__)

UNTOLD = timedelta(seconds=10)
"""So long the request itself has to tell Prefect what it decided; then the sync does."""
TICK = timedelta(microseconds=1)


class ExternalBreaches:
    """Turns signals into evaluations.

    A decision is written down before Prefect is told of it: the next signal counts on from it, a repetition
    finds it, and what a crash kept from being told the sync tells later. Telling twice starts nothing more.
    """

    def __init__(self, database: Database, orchestrator: TriggerOrchestrator) -> None:
        self._database = database
        self._orchestrator = orchestrator
        self._log = EvaluationLog(database)

    async def report(
        self, trigger: RetrainingTrigger, signal: Signal, *, by: str, idempotency_key: str | None
    ) -> Evaluation:
        """The evaluation of a signal: a new one, or the one that the same key made before.

        Raises:
            NothingToCheck, IdempotencyKeyReused, OrchestratorUnavailable, StoreUnavailable.
        """
        condition = parse_condition(trigger.trigger_type, trigger.trigger_condition)
        if isinstance(condition, ScheduledCondition):
            raise NothingToCheck(trigger.id)
        evaluation_id = uuid5(trigger.id, idempotency_key or str(uuid4()))
        known = await self._known(evaluation_id, signal, idempotency_key)
        if known is None:
            # Asked before the transaction, in which nothing but the database is waited for.
            kept = await self._orchestrator.latest_evaluation(trigger.id)
            known = await self._decide(trigger, condition, signal, evaluation_id, kept, by, idempotency_key)
        evaluation, told = known
        if not told:
            try:
                await self.tell(evaluation)
            except Exception as exc:
                if idempotency_key is None or not isinstance(exc, Unavailable):
                    # A repetition would come under another id, and count a second time.
                    with suppress(StoreUnavailable):
                        await self._log.withdraw(evaluation_id)
                raise
            facts = {"trigger_id": str(trigger.id), "evaluation_id": str(evaluation_id), "by": by}
            logger.info("breach reported: %s", evaluation.action, extra=facts)
        return evaluation

    async def tell(self, evaluation: Evaluation) -> None:
        """Tell Prefect, the breach first: an evaluation that is kept says that it fired because it did."""
        if evaluation.action is Action.FIRED:
            await self._orchestrator.announce_breach(evaluation)
        await self._orchestrator.keep_evaluation(evaluation)
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
                await self._log.withdraw(row.id)

    async def _known(
        self, evaluation_id: UUID, signal: Signal, key: str | None
    ) -> tuple[Evaluation, bool] | None:
        async with self._database.session() as session:
            row = await repository.find_evaluation(session, evaluation_id)
            if row is None:
                return None
            jobs = await repository.jobs_of_evaluations(session, [evaluation_id])
        if row.digest not in {None, signal.digest}:
            raise IdempotencyKeyReused(key or "")
        return evaluation_of(row, jobs.get(evaluation_id)), row.told

    async def _decide(
        self,
        trigger: RetrainingTrigger,
        condition: MonitorCondition,
        signal: Signal,
        evaluation_id: UUID,
        kept: Evaluation | None,
        by: str,
        key: str | None,
    ) -> tuple[Evaluation, bool]:
        """Decide and write it down, one signal of a trigger after the other; with whether it is told."""
        async with self._database.write(serial=f"evaluations of {trigger.id}") as session:
            row = await repository.find_evaluation(session, evaluation_id)
            if row is None:
                newest = await repository.latest_evaluation(session, trigger.id)
                ours = None if newest is None else evaluation_of(newest)
                latest = max((one for one in (ours, kept) if one is not None), key=_age, default=None)
                evaluation = _evaluate(trigger, condition, signal, evaluation_id, latest, by)
                session.add(row_of(evaluation, told=False, digest=signal.digest))
                return evaluation, False
        if row.digest not in {None, signal.digest}:
            raise IdempotencyKeyReused(key or "")
        return evaluation_of(row), row.told


def _age(evaluation: Evaluation) -> tuple[datetime, UUID]:
    return evaluation.at, evaluation.id


def _evaluate(
    trigger: RetrainingTrigger,
    condition: MonitorCondition,
    signal: Signal,
    evaluation_id: UUID,
    latest: Evaluation | None,
    by: str,
) -> Evaluation:
    now = datetime.now(UTC)
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
