"""Making, changing and asking triggers: what the facade and the command line call."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from retraining.errors import (
    InvalidRequest,
    NothingToCheck,
    OrchestratorUnavailable,
    TriggerNotFound,
    Unavailable,
)
from retraining.jobs.cursor import Position, page_start
from retraining.jobs.job import TriggerType
from retraining.jobs.starting import Models
from retraining.orchestrator.values import TriggerOrchestrator
from retraining.store.database import Database
from retraining.triggers import repository
from retraining.triggers.condition import parse_condition
from retraining.triggers.evaluation import Evaluation
from retraining.triggers.evaluation_log import evaluation_of
from retraining.triggers.external_breaches import ExternalBreaches
from retraining.triggers.ledger import TriggerLedger, order_of
from retraining.triggers.model_fit import refuse_unfit
from retraining.triggers.signal import Signal
from retraining.triggers.trigger import (
    RetrainingTrigger,
    TriggerChange,
    TriggerFilter,
    TriggerPage,
    TriggerPhase,
    TriggerPublic,
    TriggerRequest,
)
from retraining.triggers.upcoming import UpcomingRuns

logger = logging.getLogger(__name__)

MAX_PAGE = 1_000
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class EvaluationPage:
    """One page of a trigger's evaluations, newest first."""

    evaluations: Sequence[Evaluation]
    next_cursor: str | None
    """Continues after the last evaluation of this page; None at the end."""


class TriggerService:
    """The triggers' use cases. Reads come from the store, orders go to Prefect.

    What is ordered of Prefect is written down first, in the trigger's phase, so that `TriggerSync` ends what
    a crash or an outage left half done.
    """

    def __init__(self, database: Database, orchestrator: TriggerOrchestrator, catalog: Models) -> None:
        self._database = database
        self._orchestrator = orchestrator
        self._catalog = catalog
        self._ledger = TriggerLedger(database)
        self._external = ExternalBreaches(database, orchestrator)
        self._upcoming = UpcomingRuns()

    async def create(self, request: TriggerRequest, *, by: str) -> TriggerPublic:
        """Create a trigger, in the store and in Prefect, or after an error in neither.

        Raises:
            UnknownModel, InvalidCondition: before anything was done.
            NotDeployed, OrchestratorUnavailable, StoreUnavailable.
        """
        condition = self._checked_condition(
            request.model_name, request.trigger_type, request.trigger_condition
        )
        now = datetime.now(UTC)
        trigger = RetrainingTrigger(
            id=uuid4(),
            model_name=request.model_name,
            trigger_type=request.trigger_type,
            trigger_condition=condition,
            enabled=request.enabled,
            created_by=by,
            created_at=now,
            updated_at=now,
            phase=TriggerPhase.CREATING,
            phase_since=now,
        )
        await self._ledger.add(trigger)
        try:
            await self._orchestrator.put_trigger(order_of(trigger))
            live = await self._come_alive(trigger)
        except BaseException as exc:
            # An order without an answer may still reach Prefect: then the row stays, hidden, until it cannot.
            settled = not isinstance(exc, OrchestratorUnavailable | asyncio.CancelledError)
            await asyncio.shield(self._undo(trigger, forget=settled))
            raise
        logger.info("trigger created", extra=_facts(live, by))
        return self._public(live)

    async def get(self, trigger_id: UUID) -> TriggerPublic:
        """One trigger. Raises TriggerNotFound, StoreUnavailable."""
        return self._public(await self._ledger.shown(trigger_id))

    async def model_of(self, trigger_id: UUID) -> str | None:
        """The model of a trigger, of a deleted one too; None if there is none of this id."""
        trigger = await self._ledger.find(trigger_id)
        return None if trigger is None else trigger.model_name

    async def list(
        self,
        wanted: TriggerFilter,
        *,
        limit: int = 50,
        offset: int = 0,
        cursor: str | None = None,
        among: Collection[str] | None = None,
    ) -> TriggerPage:
        """Triggers, newest first; `cursor` comes from the page before and excludes `offset`.

        `among` are the only models whose triggers there are for who asks; None for all.

        Raises:
            InvalidRequest: limit outside 1 to 1,000, a negative offset, or a cursor that no page gave.
        """
        after = page_start(limit=limit, max_limit=MAX_PAGE, offset=offset, cursor=cursor)
        async with self._database.session() as session:
            found = await repository.page_of_triggers(
                session, wanted, limit=limit + 1, offset=offset, after=after, among=among
            )
        page = found[:limit]
        more = len(found) > limit
        return TriggerPage(
            [self._public(trigger) for trigger in page],
            Position(page[-1].created_at, page[-1].id).encode() if more else None,
        )

    async def change(self, trigger_id: UUID, change: TriggerChange, *, by: str) -> TriggerPublic:
        """Switch a trigger on or off, or give it a whole new condition; after an error it is as it was.

        Raises:
            TriggerNotFound, UnknownModel, InvalidCondition.
            InvalidRequest: a new condition for a schedule that was made in Prefect.
            NotDeployed, OrchestratorUnavailable, StoreUnavailable.
        """
        trigger = await self._ledger.shown(trigger_id)
        changes: dict[str, Any] = {}
        if change.enabled is not None:
            changes["enabled"] = change.enabled
        if change.trigger_condition is not None:
            if trigger.origin == "prefect":
                raise InvalidRequest(
                    "trigger_condition", "this schedule was made in Prefect; change its times there"
                )
            changes["trigger_condition"] = self._checked_condition(
                trigger.model_name, trigger.trigger_type, change.trigger_condition
            )
        if not changes:
            return self._public(trigger)
        before, trigger = await self._ledger.claim(trigger_id, TriggerPhase.CHANGING, **changes)
        try:
            await self._order(trigger)
        except BaseException:
            await asyncio.shield(self._revert(before, trigger))
            raise
        live = await self._ledger.move(trigger, TriggerPhase.LIVE)
        if live is None:
            live = await self._ledger.find(trigger_id)
        if live is None or live.phase in {TriggerPhase.REMOVING, TriggerPhase.DELETED}:
            # Deleted meanwhile: what was just ordered goes as well.
            await self._orchestrator.remove_trigger(trigger_id, trigger.model_name)
            raise TriggerNotFound(trigger_id)
        logger.info("trigger changed: %s", ", ".join(changes), extra=_facts(live, by))
        return self._public(live)

    async def delete(self, trigger_id: UUID, *, by: str) -> None:
        """Delete a trigger and the runs planned for it; its history stays, running jobs go on.

        After an error it is deleted a little later all the same, or at once if asked again.

        Raises:
            TriggerNotFound, OrchestratorUnavailable, StoreUnavailable.
        """
        _, trigger = await self._ledger.claim(trigger_id, TriggerPhase.REMOVING)
        await self._orchestrator.remove_trigger(trigger_id, trigger.model_name)
        await self._ledger.move(trigger, TriggerPhase.DELETED, enabled=False)
        logger.info("trigger deleted", extra=_facts(trigger, by))

    async def check(
        self, trigger_id: UUID, *, as_of: datetime | None, report: bool, by: str, correlation_id: str | None
    ) -> UUID:
        """Start a check of a trigger now, as a run of its model's monitor; returns the evaluation's id.

        Raises:
            TriggerNotFound, NothingToCheck, InvalidRequest, NotDeployed, OrchestratorUnavailable,
            StoreUnavailable.
        """
        trigger = await self._ledger.shown(trigger_id)
        if trigger.trigger_type is TriggerType.SCHEDULED:
            raise NothingToCheck(trigger_id)
        check_id = await self._orchestrator.start_check(
            order_of(trigger),
            as_of=_past("as_of", as_of),
            report=report,
            by=by,
            correlation_id=correlation_id,
        )
        logger.info("check started", extra={**_facts(trigger, by), "evaluation_id": str(check_id)})
        return check_id

    async def fire(
        self, trigger_id: UUID, signal: Signal, *, by: str, idempotency_key: str | None
    ) -> Evaluation:
        """Take a breach that an external monitor reports; patience and cooldown decide as for our own.

        The same key returns the same evaluation, and fires once.

        Raises:
            TriggerNotFound, NothingToCheck, InvalidRequest.
            IdempotencyKeyReused: the key came before with another signal.
            OrchestratorUnavailable, StoreUnavailable: try again, with the same key if any.
        """
        trigger = await self._ledger.shown(trigger_id)
        _past("at", signal.at)
        return await self._external.report(trigger, signal, by=by, idempotency_key=idempotency_key)

    async def evaluations(
        self, trigger_id: UUID, *, limit: int = 50, offset: int = 0, cursor: str | None = None
    ) -> EvaluationPage:
        """The checks of a trigger, newest first, also of one that was deleted.

        Raises:
            TriggerNotFound: there is none of this id, and never was.
            InvalidRequest: as for `list`.
        """
        after = page_start(limit=limit, max_limit=MAX_PAGE, offset=offset, cursor=cursor)
        async with self._database.session() as session:
            rows = await repository.page_of_evaluations(
                session, trigger_id, limit=limit + 1, offset=offset, after=after
            )
            if not rows:
                trigger = await repository.find_trigger(session, trigger_id)
                if trigger is None or trigger.phase in {TriggerPhase.CREATING, TriggerPhase.ABANDONED}:
                    raise TriggerNotFound(trigger_id)
            page = rows[:limit]
            jobs = await repository.jobs_of_evaluations(session, [row.id for row in page])
        more = len(rows) > limit
        return EvaluationPage(
            [evaluation_of(row, jobs.get(row.id)) for row in page],
            Position(page[-1].at, page[-1].id).encode() if more else None,
        )

    async def report_urls(self, evaluation_ids: Collection[UUID]) -> dict[UUID, str]:
        """Where the reports of these evaluations are, of those that have one."""
        async with self._database.session() as session:
            rows = await repository.evaluations_among(session, evaluation_ids)
        urls = {row.id: row.evaluation.get("report_url") for row in rows.values()}
        return {evaluation_id: url for evaluation_id, url in urls.items() if url}

    def _checked_condition(
        self, model_name: str, trigger_type: TriggerType, condition: dict[str, Any]
    ) -> dict[str, Any]:
        """The condition as it is stored: with its defaults. Raises UnknownModel, InvalidCondition."""
        spec = self._catalog.get(model_name)
        parsed = parse_condition(trigger_type, condition)
        refuse_unfit(parsed, spec)
        return parsed.model_dump(mode="json")

    def _public(self, trigger: RetrainingTrigger) -> TriggerPublic:
        return TriggerPublic.of(trigger, self._upcoming.of(trigger, datetime.now(UTC)))

    async def _come_alive(self, trigger: RetrainingTrigger) -> RetrainingTrigger:
        """Show a trigger that Prefect holds. Raises OrchestratorUnavailable if that took too long."""
        live = await self._ledger.move(trigger, TriggerPhase.LIVE)
        if live is None:
            raise OrchestratorUnavailable("create a trigger: it took too long, and was cleaned up")
        return live

    async def _order(self, trigger: RetrainingTrigger) -> None:
        """Make Prefect hold the trigger as it is here."""
        if trigger.origin == "prefect":
            await self._orchestrator.set_enabled(trigger.id, trigger.model_name, enabled=trigger.enabled)
        else:
            await self._orchestrator.put_trigger(order_of(trigger))

    async def _undo(self, trigger: RetrainingTrigger, *, forget: bool) -> None:
        """Remove what a failed creation left, as far as can be; the sync does the rest."""
        try:
            with suppress(Unavailable):
                await self._ledger.abandon(trigger.id)
            await self._orchestrator.remove_trigger(trigger.id, trigger.model_name)
            if forget:
                await self._ledger.forget(trigger.id)
        except Unavailable as exc:
            logger.warning("a failed creation is cleaned up later: %s", exc, extra=_facts(trigger))
        except Exception:
            logger.exception("a failed creation is cleaned up later", extra=_facts(trigger))

    async def _revert(self, before: RetrainingTrigger, trigger: RetrainingTrigger) -> None:
        """Take a failed change back, as far as can be; the sync does the rest."""
        old = {"enabled": before.enabled, "trigger_condition": before.trigger_condition}
        try:
            back = await self._ledger.move(trigger, TriggerPhase.CHANGING, **old)
            if back is not None:
                await self._order(back)
                await self._ledger.move(back, TriggerPhase.LIVE)
        except Unavailable as exc:
            logger.warning("a failed change is taken back later: %s", exc, extra=_facts(trigger))
        except Exception:
            logger.exception("a failed change is taken back later", extra=_facts(trigger))


def _past(name: str, moment: datetime | None) -> datetime | None:
    """A moment that is over. Raises InvalidRequest."""
    if moment is not None and moment > datetime.now(UTC) + CLOCK_TOLERANCE:
        raise InvalidRequest(name, f"{moment.isoformat()} lies in the future")
    return moment


def _facts(trigger: RetrainingTrigger, by: str | None = None) -> dict[str, str]:
    facts = {"trigger_id": str(trigger.id), "model_name": trigger.model_name, "by": by}
    return {name: value for name, value in facts.items() if value is not None}
