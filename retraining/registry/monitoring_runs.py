"""Reports of checks in MLflow: one run for each evaluation that is reported, in the model's own experiment.

The run is opened first, so that its page is known while the report is still being made.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from retraining.registry import connection
from retraining.registry.connection import EXISTS, asking
from retraining.registry.pages import run_page

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOT_IN_A_NAME = re.compile(r"[^\w\-. /]", re.ASCII)


@dataclass(frozen=True)
class OpenReport:
    """A report that is being made."""

    run_id: str
    url: str
    """The page of its run."""


class MonitoringRuns(Protocol):
    """The door to MLflow for reports. Raises RegistryUnavailable and RegistryRefused."""

    def open_report(
        self, model_name: str, at: datetime, *, scores: Mapping[str, float], facts: Mapping[str, str]
    ) -> OpenReport:
        """Make the run of a report, with the scores as its metrics and the facts as its tags."""
        ...

    def finish_report(self, report: OpenReport, files: Mapping[str, bytes], *, failed: bool = False) -> None:
        """Log the report's files and close its run, as finished or as failed."""
        ...


class MlflowMonitoringRuns:
    """`MonitoringRuns` on an MLflow server; experiment `<model>-monitoring`."""

    def __init__(self, tracking_uri: str, *, timeout_seconds: int = 10, retries: int = 1) -> None:
        connection.prepare_process(timeout_seconds, retries)
        self.tracking_uri = tracking_uri

    def open_report(
        self, model_name: str, at: datetime, *, scores: Mapping[str, float], facts: Mapping[str, str]
    ) -> OpenReport:
        """See `MonitoringRuns.open_report`."""
        from mlflow.entities import Metric

        with asking(f"open a report of {model_name!r}"):
            experiment_id = self._experiment_id(experiment_name(model_name))
            tags = {f"retraining.{name}": value for name, value in facts.items()}
            name = f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
            run = self._client.create_run(
                experiment_id, tags={"retraining.model": model_name, **tags}, run_name=name
            )
            now = int(time.time() * 1_000)
            metrics = [Metric(_metric(name), value, now, 0) for name, value in scores.items()]
            for start in range(0, len(metrics), 1_000):  # as many as MLflow takes at a time
                self._client.log_batch(run.info.run_id, metrics=metrics[start : start + 1_000])
            page = run_page(self.tracking_uri, experiment_id, run.info.run_id)
            return OpenReport(run.info.run_id, page)

    def finish_report(self, report: OpenReport, files: Mapping[str, bytes], *, failed: bool = False) -> None:
        """See `MonitoringRuns.finish_report`."""
        with asking("log a report"), TemporaryDirectory() as scratch:
            for name, content in files.items():
                path = Path(scratch, *PurePosixPath(name).parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if files:
                self._client.log_artifacts(report.run_id, scratch)
            self._client.set_terminated(report.run_id, "FAILED" if failed else "FINISHED")

    def _experiment_id(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException as exc:
                if exc.error_code != EXISTS:
                    raise
            found = self._client.get_experiment_by_name(name)  # another check was faster
            assert found is not None
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    @cached_property
    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        return MlflowClient(self.tracking_uri, registry_uri=self.tracking_uri)


def experiment_name(model_name: str) -> str:
    """The experiment of a model's reports."""
    return f"{model_name}-monitoring"


def _metric(name: str) -> str:
    """The name as MLflow takes it: letters, digits and a few signs, 250 of them."""
    return _NOT_IN_A_NAME.sub("_", name)[:250]
