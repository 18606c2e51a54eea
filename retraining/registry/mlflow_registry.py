"""The door to MLflow: nothing else in the product talks to it.

Safe to share between threads: every request goes through one `MlflowClient` with an explicit address, and
MLflow's process-wide state (tracking address, active run) is neither read nor set.
"""

from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from retraining.errors import UnloadableVersion, VersionNotFound
from retraining.registry import connection, flavours
from retraining.registry.connection import ABSENT, asking
from retraining.registry.history import CHAMPION, PREVIOUS, shortened
from retraining.registry.promotions import Promotions
from retraining.registry.registration import Registration
from retraining.registry.values import Challenger, ModelVersion, Promotion, ScoringModel
from retraining.registry.versions import DECISION, FILES_DIGEST, Versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_DESCRIPTION_LENGTH = 5_000


class MlflowRegistry:
    """`Registry` on an MLflow server.

    `timeout_seconds` and `retries` bound every request (twice 10 s at worst, at once if nothing listens); the
    environment's MLFLOW_HTTP_REQUEST_TIMEOUT and MLFLOW_HTTP_REQUEST_MAX_RETRIES come first. Jobs that upload
    very large models may want more. Credentials come from MLFLOW_TRACKING_USERNAME and _PASSWORD.
    """

    def __init__(self, tracking_uri: str, *, timeout_seconds: int = 10, retries: int = 1) -> None:
        connection.prepare_process(timeout_seconds, retries)
        self.tracking_uri = tracking_uri
        self._versions = Versions(self._get_client, tracking_uri)
        self._registration = Registration(self._get_client, self._versions)
        self._promotions = Promotions(self._get_client, self._versions)

    def register(self, model_name: str, challenger: Challenger) -> ModelVersion:
        """See `Registry.register`."""
        return self._registration.register(model_name, challenger)

    def load(self, version: ModelVersion) -> ScoringModel:
        """Load a version for scoring.

        Raises:
            VersionNotFound: it was deleted.
            UnloadableVersion: its files are missing or changed, or may not be loaded.
        """
        model_name, number = version.model_name, version.version
        stored = self._versions.get_stored(model_name, number)
        with TemporaryDirectory() as scratch:
            folder = self._download(model_name, number, scratch)
            registered = stored.tags.get(FILES_DIGEST)
            if registered is not None and registered != flavours.files_digest(folder):
                raise UnloadableVersion(
                    model_name,
                    number,
                    "its files are not those that its job registered; let a job train a new version",
                )
            return flavours.load(folder, model_name, number, verified=registered is not None)

    def as_scoring(self, model: object, model_name: str) -> ScoringModel:
        """Wrap a model that was just trained. Raises UnsupportedModel if no flavour fits."""
        return flavours.as_scoring(model, model_name)

    def get_version(self, model_name: str, version: str) -> ModelVersion:
        """One version. Raises VersionNotFound."""
        return self._versions.get(model_name, version)

    def list_versions(self, model_name: str) -> list[ModelVersion]:
        """All versions, newest first; an empty list for a model that has none."""
        state = self._promotions.find_state(model_name)
        return [] if state is None else self._versions.list_all(model_name, state.aliases)

    def find_champion(self, model_name: str) -> ModelVersion | None:
        """The version that serves, or None before the first promotion."""
        return self._versions.find_by_alias(model_name, CHAMPION)

    def find_previous(self, model_name: str) -> ModelVersion | None:
        """The roll-back target, or None."""
        return self._versions.find_by_alias(model_name, PREVIOUS)

    def read_file(self, version: ModelVersion, path: str) -> bytes | None:
        """A file that was logged with the version; None if it, its run or its files are gone."""
        import mlflow.artifacts
        from mlflow.exceptions import MlflowException

        if version.run_id is None:
            return None
        folder = path.rpartition("/")[0]
        with (
            asking(f"read {path} of version {version.version} of {version.model_name!r}"),
            TemporaryDirectory() as scratch,
        ):
            try:
                # MLflow reports a file that is not there as it reports a download that broke off.
                listed = self._get_client().list_artifacts(version.run_id, folder or None)
            except MlflowException as exc:
                if exc.error_code == ABSENT:
                    return None
                raise
            if path not in {file.path for file in listed if not file.is_dir}:
                return None
            address = mlflow.artifacts.download_artifacts(
                run_id=version.run_id, artifact_path=path, dst_path=scratch, tracking_uri=self.tracking_uri
            )
            return Path(address).read_bytes()

    def record_decision(self, version: ModelVersion, decision: str) -> None:
        """Keep the decision as the version's tag, and as its description, which MLflow's UI shows."""
        from mlflow.exceptions import MlflowException

        name, number = version.model_name, version.version
        with asking(f"record the decision about version {number} of {name!r}"):
            try:
                self._get_client().set_model_version_tag(name, number, DECISION, decision)
            except MlflowException as exc:
                if exc.error_code == ABSENT:
                    raise VersionNotFound(name, number) from exc
                raise
            self._get_client().update_model_version(name, number, shortened(decision, MAX_DESCRIPTION_LENGTH))

    def promote(
        self,
        model_name: str,
        version: str,
        *,
        by: str,
        reason: str,
        job_id: str | None = None,
        expected_champion: str | Literal["any"] | None = "any",
    ) -> Promotion | None:
        """Make the version champion; see `Registry.promote`.

        Safe without the promotion lock too, as long as a change takes MLflow less than 10 s: of two at a time
        one waits for the other.

        Raises:
            VersionNotFound, ChampionChanged.
            PromotionLockBusy: others were changing the champion for a minute.
        """
        return self._promotions.promote(
            model_name, version, by=by, reason=reason, job_id=job_id, expected_champion=expected_champion
        )

    def roll_back(self, model_name: str, *, by: str, reason: str) -> Promotion:
        """Make `previous` champion again, and the champion that leaves the new `previous`.

        Raises:
            NoChampion, NothingToRollBackTo.
            ChampionChanged: somebody else promoted or rolled back at the same time.
            PromotionLockBusy: others were changing the champion for a minute.
        """
        return self._promotions.roll_back(model_name, by=by, reason=reason)

    def promotions(self, model_name: str) -> list[Promotion]:
        """Who was champion when, newest first; a move made outside the product shows as `outside`."""
        return self._promotions.history(model_name)

    def ping(self) -> None:
        """Raise RegistryUnavailable unless MLflow answers within 2 seconds."""
        connection.ping(self.tracking_uri)

    def _download(self, model_name: str, version: str, scratch: str) -> Path:
        import mlflow.artifacts
        from mlflow.exceptions import MlflowException

        with asking(f"download version {version} of {model_name!r}"):
            # An artifact address: a models:/ address would be resolved with the process's tracking address.
            address = self._get_client().get_model_version_download_uri(model_name, version)
            try:
                return Path(
                    mlflow.artifacts.download_artifacts(
                        address, dst_path=scratch, tracking_uri=self.tracking_uri
                    )
                )
            except MlflowException as exc:
                # MLflow reports a download without files as it reports one that broke off.
                if mlflow.artifacts.list_artifacts(address, tracking_uri=self.tracking_uri):
                    raise
                raise UnloadableVersion(model_name, version, f"its files are missing from {address}") from exc

    def _get_client(self) -> "MlflowClient":
        return self._client

    @cached_property
    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        class ModelClient(MlflowClient):
            """Without the request before each change whether the model is a prompt: ours are models."""

            def _raise_if_prompt(self, name: str) -> None:
                pass

        return ModelClient(self.tracking_uri, registry_uri=self.tracking_uri)
