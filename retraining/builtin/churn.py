"""`churn`: which customers will buy nothing in the next 90 days."""

from typing import TYPE_CHECKING

from retraining.builtin import cdnow
from retraining.builtin.boosting import BoostingParameters, train_boosting
from retraining.catalog.policy import EntityHoldout
from retraining.catalog.spec import ModelSpec, TrainingInput

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier


def _train(given: TrainingInput) -> "HistGradientBoostingClassifier":
    from sklearn.ensemble import HistGradientBoostingClassifier

    return train_boosting(HistGradientBoostingClassifier, given)


churn = ModelSpec(
    name="churn",
    description="Probability that a customer of CDNOW buys nothing in the next 90 days.",
    task="binary",
    source=cdnow.CdnowSnapshots(newest=1),
    label=cdnow.CHURNED,
    features=cdnow.FEATURES,
    time_column=cdnow.TIME_COLUMN,
    label_delay=cdnow.LABEL_DELAY,
    holdout=EntityHoldout(column=cdnow.ENTITY_COLUMN, fraction=0.5),
    parameters=BoostingParameters,
    train=_train,
    metric="roc_auc",
    report=("average_precision", "log_loss", "brier", "accuracy"),
)
