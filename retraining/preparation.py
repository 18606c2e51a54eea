"""What a job needs of its data, prepared so that no more than one copy of the rows is in memory at a time.

The rows are read once. What is kept of all of them for later drift checks is made at once, the holdout is set
apart, and the training side becomes what the estimator takes; then the rows themselves are let go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from retraining.catalog.spec import ModelSpec
from retraining.monitoring.reference import reference_files
from retraining.registry.values import DataFingerprint
from retraining.sources.fingerprint import fingerprint
from retraining.sources.training_set import load_training_set
from retraining.sources.window import Window
from retraining.training.holdout import Split, split
from retraining.training.inputs import features_of, labels_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(eq=False)
class TrainingSide:
    """The rows that train, as estimators take them: the largest thing that a job holds."""

    features: "pd.DataFrame"
    labels: "pd.Series"

    def release(self) -> None:
        """Let the rows go, whoever else still holds this object."""
        self.features, self.labels = self.features.iloc[:0].copy(), self.labels.iloc[:0].copy()


@dataclass(frozen=True, eq=False)
class Prepared:
    """The data of a job."""

    training: TrainingSide
    fingerprint: DataFingerprint
    """Of the rows that train."""
    judging: Split
    """The split, without the rows that train."""
    reference: Mapping[str, bytes]
    """Files to log with the version: what later data is compared with. Of all labelled rows."""
    window: Window


def prepare(spec: ModelSpec, as_of: datetime) -> Prepared:
    """Read the rows whose labels are complete as of `as_of`, and prepare them for training.

    Raises as `load_training_set` and `split` do, and WrongColumnType as `features_of`.
    """
    training_set = load_training_set(spec, as_of)
    window, reference = training_set.window, reference_files(training_set, spec)
    parts = split(training_set.frame, spec)
    del training_set
    judging, train = parts.judging(), parts.train
    del parts
    trained_on = fingerprint(train, spec.time_column)
    side = TrainingSide(features_of(train, spec), labels_of(train, spec))
    return Prepared(side, trained_on, judging, reference, window)
