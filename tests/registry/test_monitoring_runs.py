"""Reports of checks on a real MLflow."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient

from retraining.errors import RegistryUnavailable
from retraining.registry.monitoring_runs import MlflowMonitoringRuns

AT = datetime(2026, 5, 4, 8, tzinfo=UTC)


@pytest.fixture
def runs(mlflow_url: str) -> MlflowMonitoringRuns:
    return MlflowMonitoringRuns(mlflow_url)


def test_a_report_has_its_scores_facts_and_files(
    runs: MlflowMonitoringRuns, client: MlflowClient, model_name: str, mlflow_url: str, tmp_path: Path
) -> None:
    scores = {"drift_share": 0.5, "drift/größe (cm) %": 1.25}

    report = runs.open_report(model_name, AT, scores=scores, facts={"outcome": "breached"})

    experiment = client.get_experiment_by_name(f"{model_name}-monitoring")
    assert experiment is not None
    assert report.url == f"{mlflow_url}/#/experiments/{experiment.experiment_id}/runs/{report.run_id}"
    opened = client.get_run(report.run_id)
    assert opened.info.status == "RUNNING"
    assert opened.info.run_name == "2026-05-04 08:00"
    assert opened.data.metrics == {"drift_share": 0.5, "drift/gr__e _cm_ _": 1.25}
    assert opened.data.tags["retraining.model"] == model_name
    assert opened.data.tags["retraining.outcome"] == "breached"

    runs.finish_report(report, {"report.html": b"<html>", "more/evaluation.json": b"{}"})

    assert client.get_run(report.run_id).info.status == "FINISHED"
    stored = client.download_artifacts(report.run_id, "more/evaluation.json", str(tmp_path))
    assert Path(stored).read_bytes() == b"{}"


def test_a_report_that_could_not_be_made_is_a_failed_run(
    runs: MlflowMonitoringRuns, client: MlflowClient, model_name: str
) -> None:
    report = runs.open_report(model_name, AT, scores={}, facts={})
    runs.finish_report(report, {"report_error.txt": b"no column has values"}, failed=True)
    assert client.get_run(report.run_id).info.status == "FAILED"
    assert [file.path for file in client.list_artifacts(report.run_id)] == ["report_error.txt"]


def test_more_scores_than_mlflow_takes_at_once_are_all_logged(
    runs: MlflowMonitoringRuns, client: MlflowClient, model_name: str
) -> None:
    scores = {f"drift/column {number}": float(number) for number in range(1_100)}
    report = runs.open_report(model_name, AT, scores=scores, facts={})
    assert client.get_run(report.run_id).data.metrics == scores


def test_an_experiment_that_was_deleted_is_brought_back(
    runs: MlflowMonitoringRuns, client: MlflowClient, model_name: str
) -> None:
    runs.open_report(model_name, AT, scores={}, facts={})
    experiment = client.get_experiment_by_name(f"{model_name}-monitoring")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    report = runs.open_report(model_name, AT, scores={}, facts={})
    assert client.get_run(report.run_id).info.experiment_id == experiment.experiment_id


def test_a_server_that_does_not_answer_is_unavailable(model_name: str) -> None:
    silent = MlflowMonitoringRuns("http://127.0.0.1:9", retries=0)
    with pytest.raises(RegistryUnavailable):
        silent.open_report(model_name, AT, scores={}, facts={})
