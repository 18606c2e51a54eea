"""The one place that writes triggers: each step is taken only from the state that its taker saw."""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from retraining.errors import OrchestratorUnavailable, TriggerNotFound
from retraining.orchestrator.values import TriggerOrder
from retraining.store.database import Database
from retraining.triggers import repository
from retraining.triggers.condition import parse_condition
from retraining.triggers.trigger import SHOWN, STALE, RetrainingTrigger, TriggerPhase

WAIT_SECONDS = 5.0
POLL_SECONDS = 0.05
TRIGGERS = "retraining_triggers"
FIELDS = tuple(RetrainingTrigger.model_fields)


def order_of(trigger: RetrainingTrigger) -> TriggerOrder:
    """What Prefect is to hold of a trigger. Raises InvalidCondition for a row that an older release wrote."""
    return TriggerOrder(
        trigger_id=trigger.id,
        model_name=trigger.model_name,
        condition=parse_condition(trigger.trigger_type, trigger.trigger_condition),
        enabled=trigger.enabled,
        created_at=trigger.created_at,
    )


class TriggerLedger:
    """Writes the triggers' table. Every method raises StoreUnavailable.

    Replicas of the facade and their syncs meet here: who finds a row other than it was seen has lost.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, trigger: RetrainingTrigger) -> None:
        """Keep a new trigger."""
        async with self._database.write(serial=TRIGGERS) as session:
            session.add(trigger)

    async def find(self, trigger_id: UUID) -> RetrainingTrigger | None:
        """The trigger, in whatever phase."""
        async with self._database.session() as session:
            return await repository.find_trigger(session, trigger_id)

    async def shown(self, trigger_id: UUID) -> RetrainingTrigger:
        """The trigger, if it exists for who asks. Raises TriggerNotFound."""
        trigger = await self.find(trigger_id)
        if trigger is None or trigger.phase not in SHOWN:
            raise TriggerNotFound(trigger_id)
        return trigger

    async def move(
        self, seen: RetrainingTrigger, phase: TriggerPhase, **changes: Any
    ) -> RetrainingTrigger | None:
        """Take a trigger to a phase, with changes, if it is still as seen; None if somebody else moved it."""
        (moved,) = await self.move_all([(seen, phase, changes)])
        return moved

    async def move_all(
        self,
        moves: Iterable[tuple[RetrainingTrigger, TriggerPhase, dict[str, Any]]],
        new: Iterable[RetrainingTrigger] = (),
    ) -> list[RetrainingTrigger | None]:
        """Several moves in one transaction, and new rows where there is none yet."""
        now = datetime.now(UTC)
        moves, new = list(moves), list(new)
        async with self._database.write(serial=TRIGGERS) as session:
            ids = {seen.id for seen, _, _ in moves} | {trigger.id for trigger in new}
            rows = await repository.find_triggers(session, ids)
            session.add_all(trigger for trigger in new if trigger.id not in rows)
            moved: list[RetrainingTrigger | None] = []
            for seen, phase, changes in moves:
                row = rows.get(seen.id)
                if row is None or _version(row) != _version(seen):
                    moved.append(None)
                    continue
                _take(row, phase, changes, now)
                moved.append(row)
        return moved

    async def claim(
        self, trigger_id: UUID, phase: TriggerPhase, **changes: Any
    ) -> tuple[RetrainingTrigger, RetrainingTrigger]:
        """Take an existing trigger to CHANGING or REMOVING; waits for who is changing it.

        Returns the trigger as it was and as it is now.

        Raises:
            TriggerNotFound.
            OrchestratorUnavailable: somebody else's change does not end.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        removing = phase is TriggerPhase.REMOVING
        while True:
            async with self._database.write(serial=TRIGGERS) as session:
                now = datetime.now(UTC)
                row = await repository.find_trigger(session, trigger_id)
                # A removal goes ahead of a change, and a failed one is tried again.
                if row is None or row.phase not in {*SHOWN, *([TriggerPhase.REMOVING] if removing else [])}:
                    raise TriggerNotFound(trigger_id)
                if removing or row.phase is TriggerPhase.LIVE or row.age(now) > STALE:
                    before = RetrainingTrigger(**{name: getattr(row, name) for name in FIELDS})
                    _take(row, phase, changes, now)
                    return before, row
            if time.monotonic() > deadline:
                raise OrchestratorUnavailable("wait for another change of the trigger")
            await asyncio.sleep(POLL_SECONDS)

    async def abandon(self, trigger_id: UUID) -> None:
        """Say that a creation failed; its row is hidden, and goes when Prefect surely has nothing of it."""
        async with self._database.write(serial=TRIGGERS) as session:
            row = await repository.find_trigger(session, trigger_id)
            if row is not None and row.phase in {TriggerPhase.CREATING, TriggerPhase.LIVE}:
                _take(row, TriggerPhase.ABANDONED, {}, datetime.now(UTC))

    async def forget(self, *trigger_ids: UUID) -> None:
        """Delete the rows of abandoned triggers."""
        async with self._database.write(serial=TRIGGERS) as session:
            for trigger_id in trigger_ids:
                await repository.forget_trigger(session, trigger_id)


def _version(trigger: RetrainingTrigger) -> tuple[TriggerPhase, datetime | None, datetime]:
    return trigger.phase, trigger.phase_since, trigger.updated_at


def _take(row: RetrainingTrigger, phase: TriggerPhase, changes: dict[str, Any], now: datetime) -> None:
    if changes:
        row.updated_at = now
    for name, value in changes.items():
        setattr(row, name, value)
    if phase is not row.phase or phase is not TriggerPhase.LIVE:
        row.phase, row.phase_since = phase, now
