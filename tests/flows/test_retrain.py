"""The whole job on real servers: what it leaves in MLflow, in Prefect, and in its final message."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State

from flows.retrain import evaluate, retrain
from retraining.monitoring.performance_reference import find_performance_reference
from retraining.registry.mlflow_registry import MlflowRegistry
from tests.flows.models import DAY

pytestmark = pytest.mark.usefixtures("servers")


def run(model_name: str, as_of: datetime | None = None, **parameters: Any) -> State[Any]:
    return retrain(model_name, parameters, as_of, return_state=True)


def flow_run_of(state: State[Any]) -> FlowRun:
    assert isinstance(state.state_details.flow_run_id, UUID)
    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id)


def test_first_version_is_promoted_and_a_worse_one_is_not_then_a_better_one_is(
    registry: MlflowRegistry,
) -> None:
    """The story of a model: first version, a refusal with its reason, a promotion."""
    first = run("tiny", noise=5)
    assert first.is_completed()
    assert first.message is not None
    assert first.message.startswith("first version")

    worse = run("tiny", noise=9)
    assert worse.is_completed()
    assert worse.message is not None
    assert "champion's" in worse.message
    labels = flow_run_of(worse).labels
    assert labels["retraining.version_before"] == "1"
    assert labels["retraining.version_after"] == "1"
    assert labels["retraining.challenger_version"] == "2"
    assert labels["retraining.promoted"] == "false"
    assert labels["retraining.decision"] == worse.message

    better = run("tiny", noise=0)
    labels = flow_run_of(better).labels
    assert labels["retraining.version_before"] == "1"
    assert labels["retraining.version_after"] == "3"
    assert labels["retraining.promoted"] == "true"

    champion = registry.find_champion("tiny")
    previous = registry.find_previous("tiny")
    assert champion is not None
    assert previous is not None
    assert (champion.version, previous.version) == ("3", "1")
    assert champion.job_id == str(better.state_details.flow_run_id)
    holdout = find_performance_reference(registry, champion)
    assert holdout is not None
    assert holdout.rows == len(holdout.labels) > 0
    assert champion.decision == better.message
    assert champion.fingerprint is not None
    assert champion.fingerprint.rows == pytest.approx(600 * 0.7, rel=0.1)
    assert [promotion.version for promotion in registry.promotions("tiny")] == ["3", "1"]


def test_a_job_shows_its_comparison_progress_and_version_as_artifacts() -> None:
    """Prefect's UI has the comparison with its plot, the progress bar and a link to MLflow."""
    state = run("fragile")
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id])
            )
        )
    by_key = {artifact.key: artifact for artifact in artifacts}
    assert set(by_key) == {"fragile-comparison", "fragile-mlflow", "fragile-progress"}
    assert "data:image/png;base64," in str(by_key["fragile-comparison"].data)
    assert float(str(by_key["fragile-progress"].data)) == 100


def test_a_replay_of_the_past_does_not_replace_a_newer_champion(registry: MlflowRegistry) -> None:
    """as_of trains on what was known then; such a version never pushes a newer one aside."""
    run("fragile", noise=2)
    champion = registry.find_champion("fragile")
    replay = run("fragile", DAY + timedelta(hours=400), noise=0)
    assert replay.is_completed()
    assert replay.message is not None
    assert "older replay" in replay.message
    version = registry.list_versions("fragile")[0]
    assert version.fingerprint is not None
    assert version.fingerprint.end <= DAY + timedelta(hours=400)
    after = registry.find_champion("fragile")
    assert champion is not None
    assert after is not None
    assert after.version == champion.version


@pytest.mark.parametrize(
    ("model_name", "parameters", "as_of", "message"),
    [
        ("no-such", {}, None, "unknown model 'no-such'"),
        ("tiny", {"noise": 99}, None, "noise: Input should be less than or equal to 10"),
        ("tiny", {"nose": 1}, None, "nose: Extra inputs are not permitted"),
        ("tiny", {"fail": "training"}, None, "training of 'tiny' failed: ArithmeticError: the matrix is"),
        ("tiny", {}, DAY + timedelta(hours=49), "insufficient training data: 50 rows, needs 100"),
        ("tiny", {}, DAY - timedelta(days=1), "a line: no rows in the window"),
        ("churn", {}, datetime(1997, 2, 1, tzinfo=UTC), "CDNOW"),
    ],
)
def test_a_job_that_cannot_work_fails_with_a_message_to_act_on(
    registry: MlflowRegistry,
    model_name: str,
    parameters: dict[str, Any],
    as_of: datetime | None,
    message: str,
) -> None:
    """The message is the run's own, and no version and no champion come of it."""
    before = [v.version for v in registry.list_versions(model_name)]
    state = run(model_name, as_of, **parameters)
    assert state.is_failed()
    assert state.message is not None
    assert message in state.message
    assert [v.version for v in registry.list_versions(model_name)] == before


def test_a_silent_registry_fails_the_job_and_the_next_one_works(
    monkeypatch: pytest.MonkeyPatch, mlflow_url: str
) -> None:
    """MLflow down: the job says so; MLflow back: the next job registers."""
    monkeypatch.setattr(evaluate, "retry_delay_seconds", [0.1])  # it waits 21 s in all
    monkeypatch.setenv("RETRAINING_MLFLOW_URL", "http://127.0.0.1:9")
    state = run("fragile")
    assert state.is_failed()
    assert state.message is not None
    assert "MLflow is unavailable" in state.message
    monkeypatch.setenv("RETRAINING_MLFLOW_URL", mlflow_url)
    assert run("fragile").is_completed()
