"""Service and sync on a real Prefect server: what people do there and what is done here are one truth."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule

from retraining.catalog.discovery import Catalog
from retraining.errors import NotDeployed, TriggerNotFound
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.triggers import PrefectTriggers
from retraining.store.database import Database
from retraining.triggers.service import TriggerService
from retraining.triggers.sync import TriggerSync
from retraining.triggers.trigger import TriggerChange, TriggerFilter, TriggerPublic
from tests.jobs.waiting import until
from tests.training.specs import spec_for
from tests.triggers.making import create, evaluation_rows, fire

FLOWS = ("retrain", "monitor")
DAILY = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}


class Team:
    """A model, deployed on a real server, with what its people do there."""

    def __init__(self, client: PrefectClient, model: str) -> None:
        self.client = client
        self.model = model
        self.ids: dict[str, UUID] = {}

    async def deploy(self, *flows: str) -> None:
        """As `prefect deploy` does; without a work pool: runs stay where they are."""
        for flow in flows or FLOWS:
            flow_id = await self.client.create_flow_from_name(flow)
            self.ids[flow] = await self.client.create_deployment(
                flow_id, self.model, parameters={"model_name": self.model}
            )

    async def schedules(self) -> dict[str, list[DeploymentSchedule]]:
        """By flow."""
        return {flow: await self.client.read_deployment_schedules(key) for flow, key in self.ids.items()}

    async def make_schedule(self) -> UUID:
        """Somebody makes a schedule on `retrain/<model>`."""
        wanted = DeploymentScheduleCreate(schedule=CronSchedule(**DAILY), active=True)
        [made] = await self.client.create_deployment_schedules(self.ids["retrain"], [wanted])
        return made.id

    async def automations(self, trigger: TriggerPublic) -> list[bool]:
        """Whether each of a trigger's automations is enabled."""
        found = await self.client.read_automations_by_name(f"retraining trigger {trigger.id}")
        return [one.enabled for one in found]


@pytest.fixture
async def team(prefect_api: str) -> AsyncIterator[Team]:
    async with PrefectClient(prefect_api, httpx_settings={"timeout": 60}) as client:
        team = Team(client, f"model-{uuid4().hex[:8]}")
        await team.deploy()
        yield team


@pytest.fixture
async def door(prefect_api: str) -> AsyncIterator[PrefectTriggers]:
    async with PrefectConnection(prefect_api, request_seconds=60) as connection:
        yield PrefectTriggers(connection)


@pytest.fixture
def database_url(migrated_file: Any, tmp_path: Any) -> str:
    """SQLite alone: the other tests have both."""
    path = tmp_path / "retraining.db"
    path.write_bytes(migrated_file.read_bytes())
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def service(database: Database, door: PrefectTriggers, team: Team) -> TriggerService:
    return TriggerService(database, door, Catalog([spec_for("binary", name=team.model)]))


@pytest.fixture
def sync(database: Database, door: PrefectTriggers) -> TriggerSync:
    return TriggerSync(database, door, shortest_interval=0.1)


async def shown(service: TriggerService, team: Team) -> Mapping[UUID, TriggerPublic]:
    """The triggers of the team's model; other tests have theirs on the same server."""
    page = await service.list(TriggerFilter(model_name=team.model))
    return {trigger.id: trigger for trigger in page.triggers}


async def test_a_trigger_lives_from_creation_to_deletion(
    service: TriggerService, sync: TriggerSync, team: Team
) -> None:
    nightly = await create(service, "scheduled", model_name=team.model)
    drift = await create(service, model_name=team.model, condition={"check_every": "6h"})
    await sync.compare()
    assert await shown(service, team) == {nightly.id: nightly, drift.id: drift}
    found = await team.schedules()
    assert [len(found[flow]) for flow in FLOWS] == [1, 1]
    assert await team.automations(drift) == [True]

    await service.change(drift.id, TriggerChange(enabled=False), by="ci")
    await service.change(nightly.id, TriggerChange(trigger_condition={"every": "12h"}), by="ci")
    await sync.compare()
    after = await shown(service, team)
    assert (after[drift.id].enabled, after[nightly.id].trigger_condition["every"]) == (False, "12h")
    assert await team.automations(drift) == [False]
    assert [one.active for one in (await team.schedules())["monitor"]] == [False]

    await service.delete(drift.id, by="ci")
    await service.delete(nightly.id, by="ci")
    await sync.compare()
    assert await shown(service, team) == {}
    assert [*(await team.schedules()).values()] == [[], []]
    assert await team.automations(drift) == []


async def test_what_people_do_in_prefect_shows(
    service: TriggerService, sync: TriggerSync, team: Team
) -> None:
    nightly = await create(service, "scheduled", model_name=team.model)
    [schedule] = (await team.schedules())["retrain"]
    theirs = await team.make_schedule()
    await sync.compare()
    found = await shown(service, team)
    assert found.keys() == {nightly.id, theirs}
    assert (found[theirs].origin, found[theirs].trigger_condition) == ("prefect", DAILY)
    assert len(found[theirs].next_runs) == 5

    for key in (schedule.id, theirs):
        await team.client.update_deployment_schedule(team.ids["retrain"], key, active=False)
    await sync.compare()
    assert [trigger.enabled for trigger in (await shown(service, team)).values()] == [False, False]

    for trigger_id in (nightly.id, theirs):
        await service.change(trigger_id, TriggerChange(enabled=True), by="ci")
    assert [one.active for one in (await team.schedules())["retrain"]] == [True, True]

    for key in (schedule.id, theirs):
        await team.client.delete_deployment_schedule(team.ids["retrain"], key)
    await sync.compare()
    await sync.compare()
    assert await shown(service, team) == {}
    with pytest.raises(TriggerNotFound):
        await service.get(nightly.id)


async def test_pausing_a_whole_deployment_shows_and_switches_no_trigger(
    service: TriggerService, sync: TriggerSync, team: Team
) -> None:
    nightly = await create(service, "scheduled", model_name=team.model)
    theirs = await team.make_schedule()
    await sync.compare()
    await team.client.pause_deployment(team.ids["retrain"])
    await sync.compare()
    found = await shown(service, team)
    assert {key: (one.enabled, one.paused) for key, one in found.items()} == {
        nightly.id: (False, True),
        theirs: (False, True),
    }
    await service.change(nightly.id, TriggerChange(trigger_condition={"every": "12h"}), by="ci")
    await service.change(theirs, TriggerChange(enabled=True), by="ci")
    assert [one.active for one in (await team.schedules())["retrain"]] == [True, True]
    await team.client.resume_deployment(team.ids["retrain"])
    await sync.compare()
    found = await shown(service, team)
    assert [(one.enabled, one.paused) for one in found.values()] == [(True, False), (True, False)]


async def test_deploying_again_loses_no_trigger(
    service: TriggerService, sync: TriggerSync, team: Team
) -> None:
    nightly = await create(service, "scheduled", model_name=team.model)
    drift = await create(service, model_name=team.model)
    await sync.compare()
    await team.deploy()
    assert [*(await team.schedules()).values()] == [[], []]
    await sync.compare()
    assert (await shown(service, team)).keys() == {nightly.id, drift.id}
    assert [len(one) for one in (await team.schedules()).values()] == [1, 1]
    assert await team.automations(drift) == [True]
    # And its deletion by a person after that is one.
    [schedule] = (await team.schedules())["monitor"]
    await team.client.delete_deployment_schedule(team.ids["monitor"], schedule.id)
    await sync.compare()
    await sync.compare()
    assert (await shown(service, team)).keys() == {nightly.id}
    assert await team.automations(drift) == []


async def test_a_model_without_monitor_leaves_nothing_behind(
    service: TriggerService, team: Team, database: Database
) -> None:
    await team.client.delete_deployment(team.ids.pop("monitor"))
    with pytest.raises(NotDeployed):
        await create(service, model_name=team.model)
    assert await shown(service, team) == {}
    assert [*(await team.schedules()).values()] == [[]]


async def test_an_external_breach_starts_one_job_and_is_in_the_history_once(
    service: TriggerService, sync: TriggerSync, team: Team, database: Database
) -> None:
    drift = await create(service, model_name=team.model)
    async with sync.running():
        evaluation = await fire(service, drift.id, "k", reason="half of it is new", scores={"x": 0.4})
        assert await fire(service, drift.id, "k", reason="half of it is new", scores={"x": 0.4}) == evaluation

        async def runs() -> list[Any]:
            wanted = {"deployments": {"id": {"any_": [str(team.ids["retrain"])]}}}
            answer = await team.client._client.post("/flow_runs/filter", json=wanted)
            return [*answer.json()]

        async def started() -> bool:
            return len(await runs()) > 0

        await until(started, seconds=30)
    await sync.catch_up()
    [run] = await runs()
    assert run["parameters"]["cause"]["evaluation_id"] == str(evaluation.id)
    assert run["parameters"]["cause"]["trigger_id"] == str(drift.id)
    # The server keeps the evaluations of other tests' triggers, too.
    recorded = [row.id for row in await evaluation_rows(database) if row.trigger_id == drift.id]
    assert recorded == [evaluation.id]
    assert (await service.evaluations(drift.id)).evaluations == [evaluation]
    assert evaluation.at <= datetime.now(UTC)


async def test_a_lost_table_gets_its_history_back(
    service: TriggerService, team: Team, door: PrefectTriggers, tmp_path: Any
) -> None:
    drift = await create(service, model_name=team.model, condition={"patience": 3})
    found = [await fire(service, drift.id) for _ in range(2)]
    empty = Database(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}")
    await empty.migrate()
    await TriggerSync(empty, door).catch_up()
    history = await TriggerService(empty, door, Catalog([])).evaluations(drift.id)
    assert history.evaluations == found[::-1]
    await empty.close()
