"""Gradient boosting as both built-in models use it."""

from typing import TYPE_CHECKING

from pydantic import Field

from retraining.catalog.parameters import TrainingParameters
from retraining.catalog.spec import TrainingInput
from retraining.training.fitting import fit_with_progress

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor


class BoostingParameters(TrainingParameters):
    """What a job may set."""

    learning_rate: float = Field(0.05, gt=0, le=1, description="How much of each tree's advice is taken.")
    max_iter: int = Field(100, ge=1, le=20_000, description="Number of trees.")
    max_leaf_nodes: int = Field(31, ge=2, le=1_024, description="Leaves per tree at most.")
    min_samples_leaf: int = Field(20, ge=1, le=10_000, description="Rows per leaf at least.")
    l2_regularization: float = Field(0.0, ge=0, le=1_000, description="Penalty on large leaf values.")
    shuffle_labels: bool = Field(
        False,
        description="Negative control of the promotion rule: permute the labels before training. Such a "
        "challenger has learnt nothing and must be refused.",
    )


def train_classifier(given: TrainingInput) -> "HistGradientBoostingClassifier":
    """A classifier of the given rows; the same input gives the same model."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return _fitted(HistGradientBoostingClassifier, given)


def train_regressor(given: TrainingInput) -> "HistGradientBoostingRegressor":
    """A regressor on the given rows; the same input gives the same model."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return _fitted(HistGradientBoostingRegressor, given)


def _fitted(
    estimator: "type[HistGradientBoostingClassifier | HistGradientBoostingRegressor]", given: TrainingInput
) -> "HistGradientBoostingClassifier | HistGradientBoostingRegressor":
    """The estimator, fitted with the given parameters.

    `max_iter` trees, no fewer: scikit-learn's early stopping would take a tenth of the rows out of training
    and switch on at 10,000 rows, which half of these customers happen to straddle.
    """
    parameters: BoostingParameters = given.parameters
    labels = given.labels
    if parameters.shuffle_labels:
        labels = labels.sample(frac=1, random_state=0).reset_index(drop=True)
    unfitted = estimator(
        learning_rate=parameters.learning_rate,
        max_iter=parameters.max_iter,
        max_leaf_nodes=parameters.max_leaf_nodes,
        min_samples_leaf=parameters.min_samples_leaf,
        l2_regularization=parameters.l2_regularization,
        early_stopping=False,
        random_state=0,
    )
    return fit_with_progress(unfitted, given.features, labels, given.progress)
