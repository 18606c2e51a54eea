"""Training a challenger on the training side of the split."""

from typing import TYPE_CHECKING, Any

import polars as pl

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.spec import ModelSpec, TrainingInput
from retraining.errors import RetrainingError, TrainingFailed, UnsupportedModel
from retraining.training.fitting import fit_with_progress
from retraining.training.inputs import features_of, labels_of
from retraining.training.progress import Progress, no_progress

if TYPE_CHECKING:
    import pandas as pd


def train_challenger(
    spec: ModelSpec, parameters: TrainingParameters, train: pl.DataFrame, progress: Progress = no_progress
) -> Any:
    """Train the model on `train` (rows x the specification's columns, no null label); returns it fitted.

    `retraining.training.inputs` says how columns and labels reach the model. `progress` gets shares from 0
    to 1, possibly from another thread.

    Raises:
        TrainingFailed: the team's code failed, with its message.
        UnsupportedModel: it returned nothing.
        WrongColumnType: a column cannot be a feature or a label.
    """
    return fit_challenger(spec, parameters, features_of(train, spec), labels_of(train, spec), progress)


def fit_challenger(
    spec: ModelSpec,
    parameters: TrainingParameters,
    features: "pd.DataFrame",
    labels: "pd.Series",
    progress: Progress = no_progress,
) -> Any:
    """As `train_challenger`, of rows in the form that estimators take."""
    try:
        if spec.train is not None:
            model = spec.train(TrainingInput(features, labels, parameters, progress))
        else:
            assert spec.estimator is not None  # the specification has exactly one of the two
            model = fit_with_progress(spec.estimator(parameters), features, labels, progress)
    except RetrainingError:
        raise
    except Exception as exc:
        raise TrainingFailed(spec.name, "training", f"{type(exc).__name__}: {exc}") from exc
    if model is None:
        raise UnsupportedModel(spec.name, "train returned None; return the fitted model")
    return model
