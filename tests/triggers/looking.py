"""What the tests look at and wait for, and what a process that died left in the table."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlmodel import update

from retraining.store.database import Database
from retraining.triggers.service import TriggerService
from retraining.triggers.trigger import RetrainingTrigger, TriggerFilter, TriggerPhase, TriggerPublic
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.triggers.making import evaluation_rows

Condition = Callable[[], Awaitable[bool]]


async def shown(service: TriggerService) -> dict[UUID, TriggerPublic]:
    """The triggers that a list shows, by id."""
    page = await service.list(TriggerFilter(), limit=1000)
    return {trigger.id: trigger for trigger in page.triggers}


async def leave(database: Database, trigger_id: UUID, phase: TriggerPhase, seconds: float = 120) -> None:
    """A process died in this phase so long ago."""
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    async with database.write() as session:
        await session.exec(
            update(RetrainingTrigger)
            .where(RetrainingTrigger.id == trigger_id)  # type: ignore[arg-type]  # SQLModel's columns are typed as their values
            .values(phase=phase, phase_since=since)
        )


def shows(service: TriggerService, **expected: object) -> Condition:
    """Whether there is one trigger, and it has these facts."""

    async def holds() -> bool:
        found = [*(await shown(service)).values()]
        return len(found) == 1 and all(getattr(found[0], name) == value for name, value in expected.items())

    return holds


def recorded(database: Database, *ids: UUID) -> Condition:
    """Whether exactly these evaluations are in the table."""

    async def holds() -> bool:
        return sorted(row.id for row in await evaluation_rows(database)) == sorted(ids)

    return holds


def following(orchestrator: FakeTriggers) -> Condition:
    """Whether somebody follows the orchestrator's events."""

    async def holds() -> bool:
        return orchestrator.followers > 0

    return holds


def nothing(service: TriggerService) -> Condition:
    """Whether there is no trigger."""

    async def holds() -> bool:
        return not await shown(service)

    return holds
