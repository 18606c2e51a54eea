"""The door on a real server, the fake, and one world for the tests that hold for both."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.orchestrator.triggers import PrefectTriggers
from tests.orchestrator.trigger_world import FakeTriggerWorld, PrefectTriggerWorld, TriggerWorld
from tests.orchestrator.world import FakeWorld, PrefectWorld, World


@pytest.fixture
async def client(prefect_api: str) -> AsyncIterator[PrefectClient]:
    """A client of the tests' own, to look and to act behind the door."""
    async with PrefectClient(prefect_api, httpx_settings={"timeout": 60}) as client:
        yield client


@pytest.fixture
async def door(prefect_api: str) -> AsyncIterator[PrefectOrchestrator]:
    """The real door."""
    # Patient: the machine that runs the tests may be busy with others.
    async with PrefectOrchestrator(prefect_api, request_seconds=60) as orchestrator:
        yield orchestrator


@pytest.fixture
def model() -> str:
    """A model that no other test has runs of."""
    return f"model-{uuid4().hex[:8]}"


async def deploy_bare(client: PrefectClient, model: str, flow_name: str = "retrain") -> UUID:
    """A deployment without a work pool: its runs stay where the test puts them."""
    flow_id = await client.create_flow_from_name(flow_name)
    return await client.create_deployment(flow_id, model, parameters={"model_name": model})


@pytest.fixture
async def prefect_world(door: PrefectOrchestrator, client: PrefectClient, model: str) -> PrefectWorld:
    """The model deployed on the real server."""
    return PrefectWorld(door, client, model, await deploy_bare(client, model))


@pytest.fixture(params=["fake", "prefect"])
def world(request: pytest.FixtureRequest, model: str) -> World:
    """The fake and the real door in turn."""
    if request.param == "fake":
        return FakeWorld(model)
    real: PrefectWorld = request.getfixturevalue("prefect_world")
    return real


@pytest.fixture
async def prefect_triggers(
    prefect_api: str, client: PrefectClient, model: str
) -> AsyncIterator[PrefectTriggerWorld]:
    """The model deployed on the real server, with its monitor."""
    async with PrefectConnection(prefect_api, request_seconds=60) as connection:
        world = PrefectTriggerWorld(PrefectTriggers(connection), client, model)
        await world.deploy_again()
        yield world


@pytest.fixture(params=["fake", "prefect"])
def triggers(request: pytest.FixtureRequest, model: str) -> TriggerWorld:
    """The fake and the real door for triggers in turn."""
    if request.param == "fake":
        return FakeTriggerWorld(model)
    real: PrefectTriggerWorld = request.getfixturevalue("prefect_triggers")
    return real
