"""Making triggers, and looking at what the store and Prefect hold of them."""

from typing import Any
from uuid import UUID

from sqlmodel import select

from retraining.store.database import Database
from retraining.triggers.evaluation import Evaluation
from retraining.triggers.records import TriggerEvaluation
from retraining.triggers.service import TriggerService
from retraining.triggers.signal import Signal
from retraining.triggers.trigger import RetrainingTrigger, TriggerPublic, TriggerRequest
from tests.orchestrator.fake_triggers import FakeTriggers

DAILY = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}


def a_request(trigger_type: str = "drift", **fields: Any) -> TriggerRequest:
    """For a trigger of `churn`, unless the fields say otherwise."""
    condition = fields.pop("condition", DAILY if trigger_type == "scheduled" else {})
    given = {"model_name": "churn", "trigger_type": trigger_type, "trigger_condition": condition, **fields}
    return TriggerRequest.model_validate(given)


async def create(
    service: TriggerService, trigger_type: str = "drift", by: str = "ci", **fields: Any
) -> TriggerPublic:
    """Make a trigger of `churn`, unless the fields say otherwise."""
    return await service.create(a_request(trigger_type, **fields), by=by)


async def fire(
    service: TriggerService, trigger_id: UUID, key: str | None = None, by: str = "grafana", **signal: Any
) -> Evaluation:
    """Report a breach."""
    return await service.fire(trigger_id, Signal.model_validate(signal), by=by, idempotency_key=key)


async def rows(database: Database) -> dict[UUID, RetrainingTrigger]:
    """Every trigger in the table, in whatever phase."""
    async with database.session() as session:
        return {row.id: row for row in await session.exec(select(RetrainingTrigger))}


async def evaluation_rows(database: Database) -> list[TriggerEvaluation]:
    """Every evaluation in the table, oldest first."""
    async with database.session() as session:
        return list(await session.exec(select(TriggerEvaluation).order_by("at")))


def held(orchestrator: FakeTriggers) -> set[UUID | None]:
    """The triggers that Prefect holds something of; a schedule that people made by its own id."""
    ids = {one.trigger_id or one.schedule_id for one in orchestrator.schedules.values()}
    return {*ids, *orchestrator.automations}
