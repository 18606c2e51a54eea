"""The monitor on real servers: what a check leaves in Prefect and in MLflow, and what it starts."""

import asyncio
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest
from mlflow import MlflowClient
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
)
from prefect.client.schemas.objects import Artifact, State, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flow_engine import run_flow_async

from flows.monitor import monitor
from flows.retrain import retrain
from retraining.drift.profile_format import FILE_NAME, load_profile
from retraining.monitoring.reference import FACTS_FILE, SAMPLE_FILE
from retraining.orchestrator.automations import put_automation
from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.triggers import PrefectTriggers
from retraining.registry.mlflow_registry import MlflowRegistry
from retraining.triggers.condition import DriftCondition
from retraining.triggers.evaluation import Action, Evaluation, Outcome
from tests.flows.drifting import DAY, MOVES_AT
from tests.orchestrator.conftest import deploy_bare
from tests.orchestrator.trigger_world import a_monitor

pytestmark = pytest.mark.usefixtures("servers", "models")


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAINING_MODELS", "tests.flows.drifting:moving,tests.flows.drifting:staying")


@pytest.fixture(scope="module", autouse=True)
def champions() -> Iterator[None]:
    """Trained once: by the first test that needs them."""
    _champions.clear()
    yield
    _champions.clear()


_champions: dict[str, str] = {}


async def crown(model_name: str) -> None:
    """A job trains the champion on the first twenty days."""
    if model_name not in _champions:
        state = await asyncio.to_thread(retrain, model_name, {}, MOVES_AT, return_state=True)
        assert state.is_completed(), state.message
        _champions[model_name] = str(state.message)


async def check(model_name: str, as_of: datetime, **given: Any) -> State[Any]:
    return await monitor(model_name, as_of=as_of, return_state=True, **given)


async def artifacts_of(state: State[Any]) -> dict[str, Artifact]:
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
            )
        )
    return {str(artifact.key): artifact for artifact in found}


async def kept(prefect_api: str, trigger_id: UUID) -> Evaluation | None:
    async with PrefectConnection(prefect_api) as connection:
        return await PrefectTriggers(connection).latest_evaluation(trigger_id)


async def put_trigger(prefect_api: str) -> UUID:
    """A trigger that is enabled: something waits for its breaches."""
    order = a_monitor(f"model-{uuid4().hex[:8]}")
    async with get_client() as client, PrefectConnection(prefect_api) as connection:
        deployment_id = await deploy_bare(client, order.model_name)
        await put_automation(connection, order, DriftCondition(), deployment_id)
    return order.trigger_id


async def test_a_job_keeps_the_reference_of_its_version(registry: MlflowRegistry) -> None:
    await crown("staying")
    champion = registry.find_champion("staying")
    assert champion is not None
    profile, facts, sample = (
        registry.read_file(champion, name) for name in (FILE_NAME, FACTS_FILE, SAMPLE_FILE)
    )
    assert profile is not None
    assert set(load_profile(profile).columns) == {"amount", "way", "quiet"}
    assert facts is not None
    assert json.loads(facts)["rows"] == load_profile(profile).rows == 2_001
    assert sample is not None
    assert pl.read_parquet(io.BytesIO(sample)).columns == ["at", "amount", "way", "quiet"]


async def test_a_breach_is_kept_shown_and_reported(prefect_api: str, mlflow_url: str) -> None:
    await crown("moving")
    trigger_id = await put_trigger(prefect_api)

    state = await check(
        "moving", DAY + timedelta(days=40), trigger_id=str(trigger_id), trigger_type="drift", condition={}
    )

    assert state.is_completed(), state.message
    assert str(state.message).startswith("breached: 2 of 3 columns drifted")
    evaluation = await kept(prefect_api, trigger_id)
    assert evaluation is not None
    assert evaluation.id == state.state_details.flow_run_id
    assert (evaluation.outcome, evaluation.action) == (Outcome.BREACHED, Action.FIRED)
    assert (evaluation.window_start, evaluation.rows) == (MOVES_AT, 2_000 - 1)
    assert [column.column for column in evaluation.columns] == ["amount", "way", "quiet"]

    shown = await artifacts_of(state)
    assert "| amount | **yes** |" in str(shown["moving-drift-check"].data)
    assert evaluation.report_url is not None
    assert evaluation.report_url in str(shown["moving-drift-report"].data)

    client = MlflowClient(mlflow_url, registry_uri=mlflow_url)
    page, _, file = evaluation.report_url.partition("/artifacts/")
    run = client.get_run(page.rpartition("/")[2])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["drift_share"] == pytest.approx(2 / 3)
    assert run.data.metrics["drift/amount"] > 1
    assert run.data.tags["retraining.evaluation_id"] == str(evaluation.id)
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"drift_report.html", "evaluation.json"}
    assert file in files


async def test_a_stable_window_is_quiet_and_leaves_no_report(prefect_api: str) -> None:
    await crown("staying")
    trigger_id = uuid4()

    state = await check("staying", DAY + timedelta(days=40), trigger_id=str(trigger_id))

    assert state.is_completed()
    assert state.message == "quiet: none of 3 columns drifted"
    evaluation = await kept(prefect_api, trigger_id)
    assert evaluation is not None
    assert (evaluation.outcome, evaluation.action, evaluation.report_url) == (
        Outcome.QUIET,
        Action.NONE,
        None,
    )
    assert "staying-drift-report" not in await artifacts_of(state)


async def test_a_persons_run_in_the_interface_shows_and_starts_nothing(prefect_api: str) -> None:
    await crown("staying")

    state = await check("staying", DAY + timedelta(days=40))

    assert str(state.message).startswith("quiet: ")
    shown = await artifacts_of(state)
    assert set(shown) == {"staying-drift-check"}
    assert "Done about it: nothing" in str(shown["staying-drift-check"].data)
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    assert await kept(prefect_api, run_id) is None


async def test_a_model_without_champion_is_not_judged(prefect_api: str) -> None:
    trigger_id = uuid4()
    state = await check("churn", DAY, trigger_id=str(trigger_id))
    assert state.is_completed()
    assert state.message == "not_judged: churn has no champion yet to compare with"


async def test_a_check_that_fails_is_kept_with_its_reason(prefect_api: str) -> None:
    trigger_id = uuid4()
    state = await check("no-such", DAY, trigger_id=str(trigger_id))
    assert state.is_failed()
    assert "unknown model 'no-such'" in str(state.message)
    evaluation = await kept(prefect_api, trigger_id)
    assert evaluation is not None
    assert evaluation.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"condition": {"drift_share": 2}}, "drift_share: Input should be less than or equal to 1"),
        ({"trigger_type": "scheduled"}, "trigger_condition"),
        ({"trigger_type": "weekly"}, "'weekly' is neither drift nor performance"),
    ],
)
async def test_what_cannot_be_checked_fails_and_is_kept_with_the_reason(
    prefect_api: str, given: dict[str, Any], message: str
) -> None:
    trigger_id = uuid4()
    state = await check("moving", DAY, trigger_id=str(trigger_id), **given)
    assert state.is_failed()
    assert message in str(state.message)
    evaluation = await kept(prefect_api, trigger_id)
    assert evaluation is not None
    assert evaluation.outcome is Outcome.FAILED
    assert evaluation.reason == state.message


async def test_a_trigger_id_that_is_none_fails_and_says_so() -> None:
    state = await check("moving", DAY, trigger_id="mine")
    assert state.is_failed()
    assert "trigger_id 'mine' is no id" in str(state.message)


async def test_a_check_that_the_next_one_has_overtaken_ends_as_superseded(prefect_api: str) -> None:
    """After an outage the runs of a schedule are all due at once; one check of today is enough."""
    trigger_id = uuid4()
    async with get_client() as client:
        flow_id = await client.create_flow_from_name("monitor")
        deployment_id = await client.create_deployment(flow_id, f"overtaken-{trigger_id.hex[:6]}")
        every_minute = IntervalSchedule(interval=timedelta(minutes=1))
        await client.create_deployment_schedules(deployment_id, [(every_minute, True)])
        now = datetime.now(UTC)
        await client.request(
            "POST",
            "/deployments/{id}/schedule",
            path_params={"id": deployment_id},
            json={"start_time": (now - timedelta(minutes=4)).isoformat(), "end_time": now.isoformat()},
        )
        of_deployment = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]))
        runs = await client.read_flow_runs(
            flow_run_filter=of_deployment, sort=FlowRunSort.EXPECTED_START_TIME_ASC
        )
        parameters = {"model_name": "churn", "trigger_id": str(trigger_id)}
        state = await run_flow_async(monitor, flow_run=runs[0], parameters=parameters, return_type="state")
        await client.delete_deployment(deployment_id)

    assert isinstance(state, State)
    assert (state.type, state.name) == (StateType.CANCELLED, "Superseded")
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    assert re.fullmatch(rf"superseded by run [0-9a-f-]{{36}}, due at {moment}", str(state.message))
    assert await kept(prefect_api, trigger_id) is None
