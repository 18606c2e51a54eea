"""Keeps triggers and their evaluations in step with Prefect: its event stream, and comparing at intervals."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from retraining.errors import Unavailable
from retraining.inbox import BATCH, Inbox, write_together_or_singly
from retraining.jobs.job import TriggerType
from retraining.jobs.plain import storable_json, storable_text
from retraining.jobs.repository import move_mark, read_mark
from retraining.orchestrator.values import ScheduleSeen, TriggerOrchestrator, TriggersSeen
from retraining.store.database import Database
from retraining.triggers import repository
from retraining.triggers.evaluation import Evaluation
from retraining.triggers.evaluation_log import EvaluationLog
from retraining.triggers.external_breaches import ExternalBreaches
from retraining.triggers.ledger import TriggerLedger, order_of
from retraining.triggers.lost_breaches import LostBreaches
from retraining.triggers.mirroring import Action, Appear, Follow, Forget, Put, Remove, Vanish, mirror
from retraining.triggers.trigger import RetrainingTrigger, TriggerPhase

logger = logging.getLogger(__name__)

SHORTEST_INTERVAL = 2.0
INTERVAL_PER_COST = 20
"""Comparing takes at most so small a share of the time."""
CATCH_UP_SECONDS = 60.0
"""How often evaluations are read that no event told of, beside doing so after every gap in the events."""
OVERLAP = timedelta(minutes=5)
"""Read again before the mark: Prefect's clock is not ours."""
TELL_SECONDS = 5.0
EVALUATIONS_MARK = "evaluations"
DEPLOYED_MARK = "deployed "


class TriggerSync:
    """The background work of the facade for triggers. Several replicas may run it on one database.

    What people do to schedules and automations in Prefect shows in the table; what got lost there is put
    back; what a crash left half done is ended. Evaluations are copied into the table, each once.
    """

    def __init__(
        self,
        database: Database,
        orchestrator: TriggerOrchestrator,
        *,
        shortest_interval: float = SHORTEST_INTERVAL,
    ) -> None:
        """`shortest_interval` in seconds: how soon after a comparison the next one may begin."""
        self._shortest_interval = shortest_interval
        self._database = database
        self._orchestrator = orchestrator
        self._ledger = TriggerLedger(database)
        self._log = EvaluationLog(database)
        self._external = ExternalBreaches(database, orchestrator)
        self._lost = LostBreaches(database, orchestrator)
        self._inbox = Inbox(
            "triggers",
            follow=orchestrator.evaluation_events,
            write=self._record,
            reconcile=self.catch_up,
            reconcile_seconds=CATCH_UP_SECONDS,
        )
        self._suspects: frozenset[UUID] = frozenset()
        self._strangers: frozenset[UUID] = frozenset()

    def running(self) -> AbstractAsyncContextManager[None]:
        """Follow Prefect while the block runs; neither it nor the database need be there at the start."""
        return self._inbox.running(self._keep_comparing, self._keep_telling)

    async def compare(self) -> None:
        """Compare triggers with Prefect once, and do what follows from it.

        Raises:
            OrchestratorUnavailable, StoreUnavailable: nothing is lost, the next time does the rest.
        """
        # Before Prefect is asked: a trigger made meanwhile is judged the next time.
        started = datetime.now(UTC)
        async with self._database.session() as session:
            triggers = await repository.undeleted_triggers(session)
            deployed = await repository.marks_of(session, DEPLOYED_MARK)
        seen = await self._orchestrator.triggers_seen()
        triggers, seen = await self._with_deleted(triggers, seen, started)
        found = mirror(
            triggers.values(),
            seen,
            deployed_before=deployed,
            suspects=self._suspects,
            now=datetime.now(UTC),
        )
        self._suspects = found.suspects
        self._mention(found.strangers)
        await self._write_down(found.actions)
        for action in found.actions:
            await self._carry_out(action)
        await self._remember(_settled(seen.deployed_at, triggers.values()), deployed)

    async def catch_up(self) -> None:
        """Copy the evaluations that no event told of.

        Raises:
            OrchestratorUnavailable, StoreUnavailable: nothing is lost, the next time does the rest.
        """
        started = datetime.now(UTC)
        async with self._database.session() as session:
            mark = await read_mark(session, EVALUATIONS_MARK)
        some: list[Evaluation] = []
        async for evaluation in self._orchestrator.kept_evaluations(None if mark is None else mark - OVERLAP):
            some.append(evaluation)
            if len(some) == BATCH:
                await self._record(some)
                some = []
        await self._record(some)
        async with self._database.write() as session:
            await move_mark(session, EVALUATIONS_MARK, started)

    # Evaluations

    async def _record(self, evaluations: Sequence[Evaluation]) -> None:
        await write_together_or_singly(
            evaluations,
            self._log.record,
            several="evaluations",
            one="an evaluation",
            facts=lambda evaluation: {"evaluation_id": str(evaluation.id)},
        )

    async def _keep_telling(self) -> None:
        """Tell Prefect of the breaches that a request could not tell, and again of those that it lost."""
        await asyncio.sleep(TELL_SECONDS)
        await self._external.tell_untold(datetime.now(UTC))
        await self._lost.announce(datetime.now(UTC))

    # Triggers

    async def _keep_comparing(self) -> None:
        """Compare, then rest for as long as the effort asks."""
        started = time.monotonic()
        await self.compare()
        await asyncio.sleep(max(self._shortest_interval, INTERVAL_PER_COST * (time.monotonic() - started)))

    async def _with_deleted(
        self, triggers: Mapping[UUID, RetrainingTrigger], seen: TriggersSeen, started: datetime
    ) -> tuple[dict[UUID, RetrainingTrigger], TriggersSeen]:
        """With the deleted triggers that Prefect holds, and without what was made since we started."""
        others = _ids(seen) - triggers.keys()
        async with self._database.session() as session:
            rows = await repository.find_triggers(session, others) if others else {}
        old = {
            row.id: row
            for row in rows.values()
            if row.phase is TriggerPhase.DELETED and row.phase_since is not None and row.phase_since < started
        }
        young = rows.keys() - old.keys()
        visible = replace(
            seen,
            schedules=[one for one in seen.schedules if (one.trigger_id or one.schedule_id) not in young],
            automations={key: on for key, on in seen.automations.items() if key not in young},
        )
        return {**triggers, **old}, visible

    async def _write_down(self, actions: Collection[Action]) -> None:
        """All that only the table has to learn, in one transaction."""
        moves: list[tuple[RetrainingTrigger, TriggerPhase, dict[str, Any]]] = []
        new, forgotten = [], []
        for action in actions:
            match action:
                case Appear(schedule):
                    new.append(_made_in_prefect(schedule))
                case Follow(trigger, enabled, condition, paused):
                    changes = {
                        "enabled": enabled,
                        "trigger_condition": storable_json(dict(condition)),
                        "paused": paused,
                    }
                    moves.append((trigger, TriggerPhase.LIVE, changes))
                case Vanish(trigger):
                    moves.append((trigger, TriggerPhase.DELETED, {"enabled": False}))
                case Forget(trigger):
                    forgotten.append(trigger.id)
                case Put() | Remove():
                    pass
                case _:
                    assert_never(action)
        if moves or new:
            await self._ledger.move_all(moves, new)
        if forgotten:
            await self._ledger.forget(*forgotten)

    async def _carry_out(self, action: Action) -> None:
        """What Prefect has to be told; what fails for one trigger holds up no other."""
        if not isinstance(action, Put | Remove):
            return
        facts = {"trigger_id": str(action.trigger.id), "model_name": action.trigger.model_name}
        try:
            if isinstance(action, Put):
                await self._put(action, facts)
            else:
                await self._remove(action.trigger, facts)
        except Unavailable:
            raise
        except Exception:
            logger.exception("a trigger cannot be brought in step with Prefect", extra=facts)

    async def _put(self, action: Put, facts: Mapping[str, str]) -> None:
        enabled = action.enabled
        changes = {} if enabled == action.trigger.enabled else {"enabled": enabled}
        # The one replica that gets the row puts it; if it fails, the row says that it is still to be done.
        claimed = await self._ledger.move(action.trigger, TriggerPhase.CHANGING, **changes)
        if claimed is not None:
            await self._orchestrator.put_trigger(order_of(claimed))
            await self._ledger.move(claimed, TriggerPhase.LIVE)
            logger.info("trigger put back into Prefect", extra=facts)

    async def _remove(self, trigger: RetrainingTrigger, facts: Mapping[str, str]) -> None:
        creating = trigger.phase in {TriggerPhase.CREATING, TriggerPhase.ABANDONED}
        phase = TriggerPhase.ABANDONED if creating else TriggerPhase.REMOVING
        claimed = await self._ledger.move(trigger, phase)
        if claimed is not None:
            await self._orchestrator.remove_trigger(trigger.id, trigger.model_name)
            if creating:
                # Nobody has asked Prefect for it since the step became stale: nothing more will come.
                await self._ledger.forget(trigger.id)
            else:
                await self._ledger.move(claimed, TriggerPhase.DELETED, enabled=False)
            logger.info("trigger removed from Prefect", extra=facts)

    async def _remember(self, deployed: Mapping[str, datetime], before: Mapping[str, datetime]) -> None:
        newer = {name: at for name, at in deployed.items() if name not in before or at > before[name]}
        if newer:
            async with self._database.write() as session:
                for name, at in newer.items():
                    await move_mark(session, f"{DEPLOYED_MARK}{name}", at)

    def _mention(self, strangers: frozenset[UUID]) -> None:
        for trigger_id in strangers - self._strangers:
            logger.warning(
                "Prefect holds a trigger that the store does not know; delete it in Prefect if nobody does",
                extra={"trigger_id": str(trigger_id)},
            )
        self._strangers = strangers


def _ids(seen: TriggersSeen) -> set[UUID]:
    return {one.trigger_id or one.schedule_id for one in seen.schedules} | set(seen.automations)


def _settled(
    deployed: Mapping[str, datetime], triggers: Iterable[RetrainingTrigger]
) -> Mapping[str, datetime]:
    """Without those whose deploying may have dropped a trigger that was just being put there.

    To be told from a person's deletion when the trigger is compared again.
    """
    steps = {TriggerPhase.CREATING, TriggerPhase.CHANGING}
    busy = {trigger.model_name for trigger in triggers if trigger.phase in steps}
    return {name: at for name, at in deployed.items() if name.partition("/")[2] not in busy}


def _made_in_prefect(schedule: ScheduleSeen) -> RetrainingTrigger:
    now = datetime.now(UTC)
    return RetrainingTrigger(
        id=schedule.schedule_id,
        model_name=storable_text(schedule.model_name),
        trigger_type=TriggerType.SCHEDULED,
        trigger_condition=storable_json(dict(schedule.condition)),
        enabled=schedule.active,
        paused=schedule.paused_with_deployment,
        created_by="prefect",
        created_at=schedule.created_at,
        updated_at=now,
        phase=TriggerPhase.LIVE,
        phase_since=now,
        origin="prefect",
    )
