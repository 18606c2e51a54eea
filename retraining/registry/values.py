"""What the registry tells: versions, and who was champion when. No MLflow in here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DataFingerprint:
    """Which rows a version was trained on."""

    content_hash: str
    """SHA-256 over column names, types and values, independent of how the source is cut into files."""
    rows: int
    start: datetime
    end: datetime
    """Times of the first and the last row, UTC."""


@dataclass(frozen=True)
class ModelVersion:
    """One version of a model as the registry holds it."""

    model_name: str
    version: str
    created_at: datetime
    job_id: str | None
    correlation_id: str | None
    run_id: str | None
    run_url: str | None
    metrics: Mapping[str, float]
    """Scores on the holdout, by metric name."""
    parameters: Mapping[str, str]
    fingerprint: DataFingerprint | None
    holdout: str | None
    """How its holdout was made (canonical JSON of the specification's holdout)."""
    decision: str | None
    """What was decided about it and why, in one sentence."""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Promotion:
    """One change of champion."""

    model_name: str
    version: str
    previous: str | None
    """The champion that it replaced."""
    kind: Literal["promotion", "rollback", "outside"]
    """`outside`: the alias was moved in MLflow itself."""
    at: datetime
    by: str
    reason: str
    job_id: str | None = None


@dataclass(frozen=True)
class Challenger:
    """A trained model on its way into the registry, with all that is logged with it."""

    model: Any
    input_example: "pd.DataFrame"
    """A few rows x features."""
    output_example: npt.NDArray[np.float64]
    metrics: Mapping[str, float]
    parameters: Mapping[str, Any]
    fingerprint: DataFingerprint
    holdout: str
    job_id: str
    correlation_id: str | None
    as_of: datetime
    trusted_types: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further artifacts by path: plots, the comparison, the reference profile."""


class ScoringModel(Protocol):
    """A model loaded from the registry, or just trained, ready to score."""

    def score(self, features: "pd.DataFrame") -> npt.NDArray[np.float64]:
        """Scores as `retraining.training.metrics.Scores` describes them."""
        ...


class Registry(Protocol):
    """The door to MLflow.

    Every method raises RegistryUnavailable if the server does not answer, and RegistryRefused if it answers
    that it will not: wrong credentials, most of all.
    """

    def register(self, model_name: str, challenger: Challenger) -> ModelVersion:
        """Log the challenger in one MLflow run and register it as a version, without any alias.

        Idempotent by job id: a second call for the same job returns the version of the first, and what an
        interrupted first call left is finished or marked as deleted, never served.

        Raises:
            UnsupportedModel: no MLflow flavour fits, or the safe format refuses a type (named).
        """
        ...

    def load(self, version: ModelVersion) -> ScoringModel:
        """Load a version for scoring.

        Raises:
            VersionNotFound: it was deleted.
            UnloadableVersion: its files are missing, changed, or in a format that may not be loaded.
        """
        ...

    def as_scoring(self, model: object, model_name: str) -> ScoringModel:
        """Wrap a model that was just trained, so that both sides of a comparison are scored alike."""
        ...

    def get_version(self, model_name: str, version: str) -> ModelVersion:
        """One version. Raises VersionNotFound."""
        ...

    def list_versions(self, model_name: str) -> list[ModelVersion]:
        """All versions, newest first; an empty list for a model that has none."""
        ...

    def find_champion(self, model_name: str) -> ModelVersion | None:
        """The version that serves, or None before the first promotion."""
        ...

    def read_file(self, version: ModelVersion, path: str) -> bytes | None:
        """A file that was logged with the version (`Challenger.files`); None if it has none of this path."""
        ...

    def find_previous(self, model_name: str) -> ModelVersion | None:
        """The roll-back target, or None."""
        ...

    def record_decision(self, version: ModelVersion, decision: str) -> None:
        """Keep with the version what was decided about it."""
        ...

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
        """Make the version champion and the old champion `previous`; None if it already was champion.

        Safe against a second promotion at the same time, and idempotent. The caller holds the model's
        promotion lock (`Orchestrator.promotion_lock`).

        Raises:
            VersionNotFound: there is no such version.
            ChampionChanged: the champion is not `expected_champion` any more.
        """
        ...

    def roll_back(self, model_name: str, *, by: str, reason: str) -> Promotion:
        """Make `previous` champion again, and the champion that leaves the new `previous`.

        Raises:
            NoChampion, NothingToRollBackTo.
            ChampionChanged: somebody else promoted or rolled back at the same time.
        """
        ...

    def promotions(self, model_name: str) -> list[Promotion]:
        """Who was champion when, newest first; a move made outside the product shows as `outside`."""
        ...

    def ping(self) -> None:
        """Raise RegistryUnavailable unless MLflow answers."""
        ...
