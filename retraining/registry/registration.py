"""Registering a challenger: one MLflow run, one logged model, one version.

The order makes every interruption harmless. The model is saved on the local disk first, so that one which
cannot be stored leaves nothing behind. The version comes last, created in one request with all its tags:
a version with a job id is complete, and without a version nothing of an attempt can ever be served. A second
call finds the version by its job id, or starts afresh and marks the leftovers of the first as failed.

MLflow's own `log_model` needs the process's active run and tracking address. What it does is done here in
public calls with an explicit client, so that nothing global is touched and no lock is needed.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from retraining.errors import RetrainingError
from retraining.registry import flavours
from retraining.registry.connection import ABSENT, EXISTS, asking
from retraining.registry.values import Challenger, ModelVersion
from retraining.registry.versions import AS_OF, CORRELATION_ID, JOB_ID, Versions, version_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import Model

STALE_AFTER = timedelta(days=1)
"""A run of any job that is `RUNNING` for longer was killed, and its job never came back."""


@dataclass(frozen=True)
class Attempt:
    """What one try to register has made on the server so far."""

    experiment_id: str
    run_id: str
    artifacts: str = ""
    """Where the run's files go."""


class Registration:
    """Registers challengers. Its steps are methods of their own: each is a place to be interrupted at."""

    def __init__(self, client: Callable[[], "MlflowClient"], versions: Versions) -> None:
        self._client = client
        self._versions = versions

    def register(self, model_name: str, challenger: Challenger) -> ModelVersion:
        """See `Registry.register`."""
        with asking(f"register a version of {model_name!r}"):
            if found := self._versions.of_job(model_name, challenger.job_id):
                return self._finish(challenger, found[0], self._experiment_id(model_name))
        with TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            saved = flavours.save(challenger, model_name, folder)
            with asking(f"register a version of {model_name!r}"):
                attempt = self._start_run(model_name, challenger)
                try:
                    model_id = self._log_model(model_name, challenger, attempt, saved, folder)
                    self._log_run(model_name, challenger, attempt, model_id, saved)
                    self._log_files(challenger, attempt, Path(scratch) / "files")
                    digest = flavours.files_digest(folder)
                    self._create_version(model_name, challenger, attempt, model_id, digest)
                except BaseException:
                    self._abandon(attempt)
                    raise
                # A request that was answered too late and sent again has made two; the older one stands.
                version, *duplicates = self._versions.of_job(model_name, challenger.job_id)
                for duplicate in duplicates:
                    self._delete_duplicate(duplicate)
                return self._finish(challenger, version, attempt.experiment_id)

    def _start_run(self, model_name: str, challenger: Challenger) -> Attempt:
        """A run in the model's experiment, tagged with its job from the first moment."""
        fingerprint = challenger.fingerprint
        tags = {
            JOB_ID: challenger.job_id,
            AS_OF: challenger.as_of.astimezone(UTC).isoformat(),
            "retraining.model": model_name,
            "retraining.data.content_hash": fingerprint.content_hash,
            "retraining.data.rows": str(fingerprint.rows),
            "retraining.data.start": fingerprint.start.astimezone(UTC).isoformat(),
            "retraining.data.end": fingerprint.end.astimezone(UTC).isoformat(),
            # What MLflow's UI shows as the source of a run.
            "mlflow.source.type": "JOB",
            "mlflow.source.name": experiment_name(model_name),
        }
        if challenger.correlation_id is not None:
            tags[CORRELATION_ID] = challenger.correlation_id
        experiment_id = self._experiment_id(model_name)
        name = f"{challenger.as_of.astimezone(UTC):%Y-%m-%d} job {challenger.job_id[:8]}"
        run = self._client().create_run(experiment_id, tags=tags, run_name=name)
        return Attempt(experiment_id, run.info.run_id, run.info.artifact_uri)

    def _log_model(
        self, model_name: str, challenger: Challenger, attempt: Attempt, saved: "Model", folder: Path
    ) -> str:
        """Upload the saved model as the run's output; its id."""
        from mlflow.entities import LoggedModelOutput

        client = self._client()
        logged = client.create_logged_model(
            attempt.experiment_id,
            name=model_name,
            source_run_id=attempt.run_id,
            params={name: str(value) for name, value in challenger.parameters.items()},
            tags={JOB_ID: challenger.job_id},
        )
        client.log_outputs(attempt.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        saved.run_id = attempt.run_id
        saved.model_id = saved.model_uuid = logged.model_id
        saved.artifact_path = logged.artifact_location
        saved.save(str(folder / "MLmodel"))
        self._upload(folder, logged.artifact_location)
        client.finalize_logged_model(logged.model_id, "READY")
        return logged.model_id

    def _log_run(
        self, model_name: str, challenger: Challenger, attempt: Attempt, model_id: str, saved: "Model"
    ) -> None:
        """Metrics, parameters and the training set, in two requests."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1_000)
        self._client().log_batch(
            attempt.run_id,
            metrics=[
                Metric(name, float(value), now, 0, model_id=model_id, run_id=attempt.run_id)
                for name, value in challenger.metrics.items()
            ],
            params=[Param(name, str(value)) for name, value in challenger.parameters.items()],
        )
        fingerprint = challenger.fingerprint
        period = {"start": fingerprint.start.isoformat(), "end": fingerprint.end.isoformat()}
        columns = saved.signature.inputs.to_dict() if saved.signature else []
        dataset = Dataset(
            name=f"{model_name} training set",
            digest=fingerprint.content_hash[:36],  # as much as MLflow keeps
            source_type="retraining",
            source=json.dumps({"content_hash": fingerprint.content_hash, **period}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": fingerprint.rows}),
        )
        training_set = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
        try:
            self._client().log_inputs(attempt.run_id, [training_set])
        except MlflowException:
            # MLflow stores a training set once for all runs, and lets one of two fail who bring it at a time.
            self._client().log_inputs(attempt.run_id, [training_set])

    def _log_files(self, challenger: Challenger, attempt: Attempt, folder: Path) -> None:
        """The challenger's further artifacts, by their paths."""
        for name, content in challenger.files.items():
            relative = PurePosixPath(name)
            if relative.is_absolute() or ".." in relative.parts:
                raise ValueError(f"the artifact path {name!r} leaves the run's folder")
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if challenger.files:
            self._upload(folder, attempt.artifacts)

    def _upload(self, folder: Path, location: str) -> None:
        """A folder's files. The client's own methods would ask MLflow first where they go."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        files = get_artifact_repository(location, tracking_uri=self._client().tracking_uri)
        files.log_artifacts(str(folder))  # type: ignore[no-untyped-call]  # MLflow's own

    def _create_version(
        self, model_name: str, challenger: Challenger, attempt: Attempt, model_id: str, digest: str
    ) -> None:
        """The version with everything that is known about it, in one request."""
        from mlflow.exceptions import MlflowException

        try:
            self._create_version_of_known(model_name, challenger, attempt, model_id, digest)
        except MlflowException as exc:
            if exc.error_code != ABSENT:
                raise
            self._create_registered_model(model_name)
            self._create_version_of_known(model_name, challenger, attempt, model_id, digest)

    def _create_registered_model(self, model_name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client().create_registered_model(model_name)
        except MlflowException as exc:
            if exc.error_code != EXISTS:  # another job was faster
                raise

    def _create_version_of_known(
        self, model_name: str, challenger: Challenger, attempt: Attempt, model_id: str, digest: str
    ) -> None:
        self._client().create_model_version(
            model_name,
            f"models:/{model_id}",
            run_id=attempt.run_id,
            tags=version_tags(challenger, attempt.experiment_id, digest),
            description=f"Trained as of {challenger.as_of.astimezone(UTC):%Y-%m-%d} on "
            f"{challenger.fingerprint.rows:,} rows by job {challenger.job_id}",
            model_id=model_id,
            await_creation_for=0,
        )

    def _finish(self, challenger: Challenger, version: ModelVersion, experiment_id: str) -> ModelVersion:
        """Close the version's run, and mark what killed attempts left open."""
        for run in self._client().search_runs([experiment_id], "attributes.status = 'RUNNING'"):
            age = timedelta(milliseconds=time.time() * 1_000 - run.info.start_time)
            if run.info.run_id == version.run_id:
                self._client().set_terminated(run.info.run_id)
            elif run.data.tags.get(JOB_ID) == challenger.job_id or age > STALE_AFTER:
                self._abandon(Attempt(experiment_id, run.info.run_id))
        return version

    def _abandon(self, attempt: Attempt) -> None:
        """Mark an attempt's run as failed and delete its logged models; harmless if MLflow is gone."""
        with suppress(RetrainingError), asking("mark a failed run"):
            client = self._client()
            client.set_terminated(attempt.run_id, "FAILED")
            for logged in client.search_logged_models(
                [attempt.experiment_id], f"source_run_id = '{attempt.run_id}'"
            ):
                client.delete_logged_model(logged.model_id)

    def _delete_duplicate(self, version: ModelVersion) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client().delete_model_version(version.model_name, version.version)
        except MlflowException as exc:
            if exc.error_code != ABSENT:  # whoever made it has deleted it already
                raise

    def _experiment_id(self, model_name: str) -> str:
        """The model's experiment: found, made, or brought back if somebody deleted it."""
        from mlflow.exceptions import MlflowException

        client, name = self._client(), experiment_name(model_name)
        found = client.get_experiment_by_name(name)
        if found is None:
            try:
                return client.create_experiment(name)
            except MlflowException as exc:
                if exc.error_code != EXISTS:
                    raise
            found = client.get_experiment_by_name(name)  # another job was faster
            assert found is not None
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def experiment_name(model_name: str) -> str:
    """The experiment of a model, named like its deployment."""
    return f"retrain/{model_name}"
