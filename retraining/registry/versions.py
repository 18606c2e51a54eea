"""Reading model versions out of MLflow.

What a job knows about its version is in the version's own tags, set in the one request that creates it: a
version with a job id is complete, lists need no request per version, and nothing is lost when somebody
deletes the run. Versions that no job registered show their run's metrics and parameters.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from retraining.errors import VersionNotFound
from retraining.registry.connection import ABSENT, asking
from retraining.registry.pages import run_page
from retraining.registry.values import Challenger, DataFingerprint, ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

JOB_ID = "retraining.job_id"
CORRELATION_ID = "retraining.correlation_id"
AS_OF = "retraining.as_of"
METRICS = "retraining.metrics"
PARAMETERS = "retraining.parameters"
DATA = "retraining.data"
HOLDOUT = "retraining.holdout"
EXPERIMENT_ID = "retraining.experiment_id"
FILES_DIGEST = "retraining.files_sha256"
DECISION = "retraining.decision"

VERSION_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
NO_ALIAS = "INVALID_PARAMETER_VALUE"
"""MLflow's answer for an alias that a model does not have."""


def version_tags(challenger: Challenger, experiment_id: str, files_digest: str) -> dict[str, str]:
    """All that a version carries from its creation on."""
    fingerprint = challenger.fingerprint
    data = {
        "content_hash": fingerprint.content_hash,
        "rows": fingerprint.rows,
        "start": fingerprint.start.astimezone(UTC).isoformat(),
        "end": fingerprint.end.astimezone(UTC).isoformat(),
    }
    tags = {
        JOB_ID: challenger.job_id,
        AS_OF: challenger.as_of.astimezone(UTC).isoformat(),
        METRICS: json.dumps({name: float(value) for name, value in challenger.metrics.items()}),
        PARAMETERS: json.dumps({name: str(value) for name, value in challenger.parameters.items()}),
        DATA: json.dumps(data),
        HOLDOUT: challenger.holdout,
        EXPERIMENT_ID: experiment_id,
        FILES_DIGEST: files_digest,
    }
    if challenger.correlation_id is not None:
        tags[CORRELATION_ID] = challenger.correlation_id
    return tags


class Versions:
    """Reads the versions of one MLflow server."""

    page_size = 1_000

    def __init__(self, client: Callable[[], "MlflowClient"], tracking_uri: str) -> None:
        self._client = client
        self._mlflow = tracking_uri

    def get(self, model_name: str, version: str) -> ModelVersion:
        """One version. Raises VersionNotFound."""
        return self._values([self.get_stored(model_name, version)])[0]

    def get_stored(self, model_name: str, version: str) -> "MlflowVersion":
        """One version as MLflow has it, for what no value carries. Raises VersionNotFound."""
        from mlflow.exceptions import MlflowException

        if not VERSION_NUMBER.fullmatch(version):
            raise VersionNotFound(model_name, version)
        with asking(f"read version {version} of {model_name!r}"):
            try:
                return self._client().get_model_version(model_name, version)
            except MlflowException as exc:
                if exc.error_code == ABSENT:
                    raise VersionNotFound(model_name, version) from exc
                raise

    def find_by_alias(self, model_name: str, alias: str) -> ModelVersion | None:
        """The version that the alias points to, or None."""
        from mlflow.exceptions import MlflowException

        with asking(f"read the {alias} of {model_name!r}"):
            try:
                stored = self._client().get_model_version_by_alias(model_name, alias)
            except MlflowException as exc:
                if exc.error_code in (ABSENT, NO_ALIAS):
                    return None
                raise
        return self._values([stored])[0]

    def list_all(self, model_name: str, aliases: Mapping[str, str]) -> list[ModelVersion]:
        """All versions of a model that exists, newest first; `aliases` as its registered model has them.

        MLflow's search leaves the aliases of the versions out.
        """
        stored = self._search(model_name, f"name = '{model_name}'")
        stored.sort(key=lambda version: int(version.version), reverse=True)
        return self._values(stored, aliases)

    def of_job(self, model_name: str, job_id: str) -> list[ModelVersion]:
        """The versions that a job registered, oldest first: none, one, or more after a lost answer."""
        stored = self._search(model_name, f"name = '{model_name}' AND tags.`{JOB_ID}` = '{job_id}'")
        stored.sort(key=lambda version: int(version.version))
        return self._values(stored)

    def _search(self, model_name: str, filter_string: str) -> "list[MlflowVersion]":
        found: list[MlflowVersion] = []
        token: str | None = None
        with asking(f"list the versions of {model_name!r}"):
            while True:
                page = self._client().search_model_versions(
                    filter_string,
                    max_results=self.page_size,
                    # In an order that no change to a version disturbs while pages are turned.
                    order_by=["version_number DESC"],
                    page_token=token,
                )
                found += page
                token = page.token
                if not token:
                    return found

    def _values(
        self, stored: "Sequence[MlflowVersion]", aliases: Mapping[str, str] | None = None
    ) -> list[ModelVersion]:
        runs = self._runs(v.run_id for v in stored if JOB_ID not in v.tags and v.run_id)
        by_version: dict[str, list[str]] = {}
        for alias, version in (aliases or {}).items():
            by_version.setdefault(str(version), []).append(alias)
        return [
            self._value(
                version,
                runs.get(version.run_id or ""),
                version.aliases if aliases is None else by_version.get(str(version.version), ()),
            )
            for version in stored
        ]

    def _runs(self, run_ids: Iterable[str]) -> "dict[str, Run]":
        """The runs of these ids that exist, with one search per experiment and hundred runs."""
        from mlflow.exceptions import MlflowException

        missing = list(dict.fromkeys(run_ids))
        found: dict[str, Run] = {}
        while missing:
            first, batch = missing[0], missing[:100]
            with asking("read the runs of versions"):
                try:
                    experiment_id = self._client().get_run(first).info.experiment_id
                except MlflowException as exc:
                    if exc.error_code != ABSENT:
                        raise
                    missing.remove(first)
                    continue
                listed = ", ".join(f"'{run_id}'" for run_id in batch)
                runs = self._client().search_runs([experiment_id], f"attributes.run_id IN ({listed})")
            found |= {run.info.run_id: run for run in runs}
            # The search leaves deleted runs out.
            missing = [run_id for run_id in missing if run_id not in found and run_id != first]
        return found

    def _value(self, stored: "MlflowVersion", run: "Run | None", aliases: Iterable[str]) -> ModelVersion:
        tags = stored.tags
        experiment_id = run.info.experiment_id if run else tags.get(EXPERIMENT_ID)
        return ModelVersion(
            model_name=stored.name,
            version=str(stored.version),
            created_at=datetime.fromtimestamp(stored.creation_timestamp / 1_000, UTC),
            job_id=tags.get(JOB_ID),
            correlation_id=tags.get(CORRELATION_ID),
            run_id=stored.run_id or None,
            run_url=run_page(self._mlflow, experiment_id, stored.run_id)
            if experiment_id and stored.run_id
            else None,
            metrics=dict(run.data.metrics) if run else _json(tags.get(METRICS)),
            parameters=dict(run.data.params) if run else _json(tags.get(PARAMETERS)),
            fingerprint=_fingerprint(tags.get(DATA)),
            holdout=tags.get(HOLDOUT),
            decision=tags.get(DECISION),
            aliases=tuple(sorted(aliases)),
        )


def _json(value: str | None) -> dict[str, Any]:
    try:
        found = json.loads(value or "{}")
    except ValueError:  # edited by hand
        return {}
    return found if isinstance(found, dict) else {}


def _fingerprint(value: str | None) -> DataFingerprint | None:
    data = _json(value)
    try:
        return DataFingerprint(
            content_hash=str(data["content_hash"]),
            rows=int(data["rows"]),
            start=datetime.fromisoformat(data["start"]),
            end=datetime.fromisoformat(data["end"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
