"""What registering leaves in MLflow, whatever interrupts it."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from retraining.errors import UnloadableVersion, UnsupportedModel, VersionNotFound
from retraining.registry.mlflow_registry import MlflowRegistry
from retraining.registry.registration import Registration
from retraining.registry.values import Challenger
from tests.registry.factories import boosted_model, challenger, copy_version, features
from tests.registry.test_flavours import MeanSpend, SpendShare


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class KilledAfter(Registration):
    """A registration that is killed after one of its steps."""

    def __init__(self, registry: MlflowRegistry, step: str) -> None:
        super().__init__(registry._get_client, registry._versions)
        survived = getattr(self, step)

        def die(*arguments: Any) -> Any:
            survived(*arguments)
            raise Killed

        setattr(self, step, die)

    def _abandon(self, attempt: object) -> None:
        """Who is killed tidies nothing up."""


class SentTwice(Registration):
    """A registration whose request for a version was repeated, because its answer got lost."""

    def _create_version(self, *arguments: Any) -> None:
        super()._create_version(*arguments)
        super()._create_version(*arguments)


def experiment_of(client: MlflowClient, model_name: str) -> str:
    experiment = client.get_experiment_by_name(f"retrain/{model_name}")
    assert experiment is not None
    return experiment.experiment_id


def runs_of(client: MlflowClient, model_name: str) -> list[Run]:
    return list(client.search_runs([experiment_of(client, model_name)], "", ViewType.ALL))


@pytest.mark.parametrize("step", ["_start_run", "_log_model", "_log_run", "_log_files", "_create_version"])
def test_a_killed_registration_is_finished_by_the_next_one(
    registry: MlflowRegistry, client: MlflowClient, model_name: str, step: str
) -> None:
    given = challenger(files={"plot.svg": b"<svg/>"})
    with pytest.raises(Killed):
        KilledAfter(registry, step).register(model_name, given)
    left = registry.list_versions(model_name)
    assert [version.aliases for version in left] == ([()] if step == "_create_version" else [])

    version = registry.register(model_name, given)

    assert version.version == "1"
    assert registry.list_versions(model_name) == [version]
    assert registry.load(version).score(features()).shape == (200,)
    statuses = {run.info.run_id: run.info.status for run in runs_of(client, model_name)}
    assert statuses.pop(version.run_id) == "FINISHED"
    assert set(statuses.values()) <= {"FAILED"}
    models = client.search_logged_models([experiment_of(client, model_name)])
    assert [(model.source_run_id, str(model.status)) for model in models] == [(version.run_id, "READY")]


def test_a_registration_that_fails_marks_its_run_and_leaves_no_version(
    registry: MlflowRegistry, client: MlflowClient, model_name: str
) -> None:
    with pytest.raises(ValueError, match=r"'\.\./plot\.svg' leaves the run's folder"):
        registry.register(model_name, challenger(files={"../plot.svg": b"<svg/>"}))

    assert registry.list_versions(model_name) == []
    assert [run.info.status for run in runs_of(client, model_name)] == ["FAILED"]


def test_a_model_that_cannot_be_stored_leaves_nothing_in_mlflow(
    registry: MlflowRegistry, client: MlflowClient, model_name: str
) -> None:
    with pytest.raises(
        UnsupportedModel, match=r"trusted_types=\('tests\.registry\.test_flavours\.MeanSpend'"
    ):
        registry.register(model_name, challenger(MeanSpend().fit(features(), [1.0, 2.0])))

    assert client.get_experiment_by_name(f"retrain/{model_name}") is None
    assert registry.list_versions(model_name) == []


def test_a_request_that_was_sent_twice_leaves_one_version(
    registry: MlflowRegistry, client: MlflowClient, model_name: str
) -> None:
    given = challenger()

    version = SentTwice(registry._get_client, registry._versions).register(model_name, given)

    assert version.version == "1"
    assert registry.list_versions(model_name) == [version]
    assert registry.register(model_name, given) == version


def test_runs_that_other_jobs_left_open_are_closed_after_a_day(
    registry: MlflowRegistry, client: MlflowClient, model_name: str
) -> None:
    registry.register(model_name, challenger())
    experiment_id = experiment_of(client, model_name)
    killed = client.create_run(experiment_id, start_time=1).info.run_id
    under_way = client.create_run(experiment_id).info.run_id

    registry.register(model_name, challenger())

    assert client.get_run(killed).info.status == "FAILED"
    assert client.get_run(under_way).info.status == "RUNNING"


def test_a_deleted_experiment_is_brought_back(
    registry: MlflowRegistry, client: MlflowClient, model_name: str
) -> None:
    registry.register(model_name, challenger())
    client.delete_experiment(experiment_of(client, model_name))

    assert registry.register(model_name, challenger()).version == "2"


def test_the_run_and_the_version_tell_everything_in_mlflow(
    registry: MlflowRegistry, client: MlflowClient, model_name: str, mlflow_url: str
) -> None:
    given = challenger(files={"plots/scores.svg": b"<svg/>", "profile.json": b"{}"})

    version = registry.register(model_name, given)
    registry.record_decision(version, "first version")

    assert version.run_id is not None
    run = client.get_run(version.run_id)
    assert run.info.run_name == f"1998-01-01 job {given.job_id[:8]}"
    assert run.data.metrics == given.metrics
    assert run.data.params == {"iterations": "20", "learning_rate": "0.05"}
    tags = run.data.tags
    assert tags["retraining.job_id"] == given.job_id
    assert tags["retraining.correlation_id"] == "req-1"
    assert tags["retraining.as_of"] == "1998-01-01T00:00:00+00:00"
    assert tags["retraining.data.content_hash"] == given.fingerprint.content_hash
    assert tags["retraining.data.rows"] == "1234"
    assert run.inputs is not None
    assert run.outputs is not None
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == (
        f"{model_name} training set",
        given.fingerprint.content_hash[:36],
    )
    assert {file.path for file in client.list_artifacts(version.run_id)} == {"plots", "profile.json"}
    logged = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert {metric.key: metric.value for metric in logged.metrics or []} == given.metrics
    stored = client.get_model_version(model_name, version.version)
    assert (stored.run_id, stored.status, stored.description) == (version.run_id, "READY", "first version")
    assert version.run_url == f"{mlflow_url}/#/experiments/{run.info.experiment_id}/runs/{version.run_id}"


def test_nothing_global_is_touched(
    registry: MlflowRegistry, model_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()

    registry.load(registry.register(model_name, challenger(boosted_model())))

    assert mlflow.get_tracking_uri() == before
    assert mlflow.active_run() is None
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - MLflow's default address would leave a database here


def test_lists_are_complete_over_many_pages(
    registry: MlflowRegistry, client: MlflowClient, model_name: str
) -> None:
    given = challenger()
    first = registry.register(model_name, given)
    for _ in range(6):
        copy_version(client, model_name, run_id=first.run_id)
    registry._versions.page_size = 3

    listed = registry.list_versions(model_name)

    assert [version.version for version in listed] == ["7", "6", "5", "4", "3", "2", "1"]
    # Versions that somebody registered by hand show what their run knows.
    assert all(version.metrics == given.metrics for version in listed)
    assert [version.job_id for version in listed] == [None] * 6 + [given.job_id]


def test_versions_by_hand_survive_without_their_runs(
    registry: MlflowRegistry, client: MlflowClient, model_name: str
) -> None:
    model_id = client.create_logged_model("0").model_id
    client.create_registered_model(model_name)
    for run_id in (None, "0" * 32):
        client.create_model_version(model_name, f"models:/{model_id}", run_id=run_id, model_id=model_id)

    listed = registry.list_versions(model_name)

    assert [(version.version, dict(version.metrics)) for version in listed] == [("2", {}), ("1", {})]
    assert registry.get_version(model_name, "1") == listed[1]


def test_changed_files_are_not_loaded(
    registry: MlflowRegistry, client: MlflowClient, model_name: str, tmp_path: Path
) -> None:
    """A Python function is code: whoever can write artifacts must not be able to run some in a job."""
    version = registry.register(model_name, challenger(SpendShare(200.0)))
    assert registry.load(version).score(features()).max() <= 1
    (tmp_path / "python_model.pkl").write_bytes(b"something else")
    source = client.get_model_version(model_name, "1").source or ""

    client.log_model_artifact(source.removeprefix("models:/"), str(tmp_path / "python_model.pkl"))

    with pytest.raises(UnloadableVersion, match="its files are not those that its job registered"):
        registry.load(version)


def test_missing_files_and_deleted_versions_are_told_apart_from_an_outage(
    registry: MlflowRegistry, client: MlflowClient, model_name: str, mlflow_url: str
) -> None:
    version = registry.register(model_name, challenger())
    where = client.get_model_version_download_uri(model_name, "1").removeprefix("mlflow-artifacts:/")
    httpx.delete(f"{mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{where}").raise_for_status()

    with pytest.raises(UnloadableVersion, match="its files are missing"):
        registry.load(version)
    client.delete_model_version(model_name, "1")
    with pytest.raises(VersionNotFound):
        registry.load(version)


def test_every_flavour_comes_back_from_the_server(registry: MlflowRegistry, model_name: str) -> None:
    for model in (boosted_model(), SpendShare(200.0)):
        version = registry.register(model_name, challenger(model))

        np.testing.assert_array_equal(
            registry.load(version).score(features()),
            registry.as_scoring(model, model_name).score(features()),
        )


def test_the_challenger_is_not_changed(registry: MlflowRegistry, model_name: str) -> None:
    given: Challenger = challenger()
    columns = list(given.input_example.columns)

    registry.register(model_name, given)

    assert list(given.input_example.columns) == columns


def test_one_registry_serves_many_threads(mlflow_url: str, model_name: str) -> None:
    registry = MlflowRegistry(mlflow_url)
    given = [challenger(metrics={"roc_auc": number / 10}) for number in range(4)]

    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(lambda one: registry.register(model_name, one), given))

    assert {version.version for version in versions} == {"1", "2", "3", "4"}
    assert [(version.job_id, version.metrics) for version in versions] == [
        (one.job_id, one.metrics) for one in given
    ]
    assert registry.list_versions(model_name) == sorted(versions, key=lambda v: v.version, reverse=True)
