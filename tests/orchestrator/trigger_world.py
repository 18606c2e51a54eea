"""What happens to triggers outside the door, played alike on the fake and on a real Prefect server."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule

from retraining.orchestrator.triggers import PrefectTriggers
from retraining.orchestrator.values import ScheduleSeen, TriggerOrchestrator, TriggerOrder, TriggersSeen
from retraining.triggers.condition import DriftCondition, ScheduledCondition
from tests.orchestrator.fake_triggers import FakeTriggers

NIGHTLY = ScheduledCondition(cron="30 2 * * *", timezone="Europe/Berlin")
FLOWS = ("retrain", "monitor")


def an_order(model: str, condition: Any = NIGHTLY, **facts: Any) -> TriggerOrder:
    """An enabled, new trigger."""
    given = {"trigger_id": uuid4(), "enabled": True, "created_at": datetime.now(UTC), **facts}
    return TriggerOrder(model_name=model, condition=condition, **given)


def a_monitor(model: str, **facts: Any) -> TriggerOrder:
    """An enabled, new drift trigger."""
    return an_order(model, DriftCondition(), **facts)


class TriggerWorld(Protocol):
    """A model deployed on an orchestrator, and what people do to its triggers in Prefect."""

    @property
    def triggers(self) -> TriggerOrchestrator:
        """The door under test."""
        ...

    @property
    def model(self) -> str:
        """A model that no other test has triggers of."""
        ...

    async def add_schedule(self, cron: str, timezone: str) -> UUID:
        """Somebody makes a schedule on `retrain/<model>`."""
        ...

    async def delete_schedule(self, schedule: ScheduleSeen) -> None:
        """Somebody deletes a schedule on `retrain/<model>`."""
        ...

    async def deploy_again(self) -> None:
        """Somebody runs `prefect deploy --all`."""
        ...


async def seen(world: TriggerWorld) -> TriggersSeen:
    """What Prefect holds of the world's model."""
    everything = await world.triggers.triggers_seen()
    ours = [one for one in everything.schedules if one.model_name == world.model]
    deployed = {name: at for name, at in everything.deployed_at.items() if name.endswith(f"/{world.model}")}
    return TriggersSeen(ours, everything.automations, deployed)


async def schedules(world: TriggerWorld) -> Sequence[ScheduleSeen]:
    """The schedules of the world's model."""
    return (await seen(world)).schedules


class FakeTriggerWorld:
    """The fake and its handles."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.triggers = FakeTriggers([model])

    async def add_schedule(self, cron: str, timezone: str) -> UUID:
        return self.triggers.add_schedule(self.model, {"cron": cron, "timezone": timezone}).schedule_id

    async def delete_schedule(self, schedule: ScheduleSeen) -> None:
        self.triggers.delete_schedule(schedule.trigger_id or schedule.schedule_id)

    async def deploy_again(self) -> None:
        self.triggers.redeploy(self.model)


class PrefectTriggerWorld:
    """A real server."""

    def __init__(self, triggers: PrefectTriggers, client: PrefectClient, model: str) -> None:
        self.triggers = triggers
        self.client = client
        self.model = model
        self.ids: dict[str, UUID] = {}
        """Of the deployments, by flow."""

    async def add_schedule(self, cron: str, timezone: str) -> UUID:
        schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron=cron, timezone=timezone), active=True)
        [made] = await self.client.create_deployment_schedules(self.ids["retrain"], [schedule])
        return made.id

    async def delete_schedule(self, schedule: ScheduleSeen) -> None:
        await self.client.delete_deployment_schedule(self.ids["retrain"], schedule.schedule_id)

    async def deploy_again(self) -> None:
        for flow in FLOWS:
            await self.deploy(flow)

    async def deploy(self, flow: str) -> None:
        """As `prefect deploy` does; without a work pool: runs stay where the test puts them."""
        flow_id = await self.client.create_flow_from_name(flow)
        self.ids[flow] = await self.client.create_deployment(
            flow_id, self.model, parameters={"model_name": self.model}
        )
