"""`churn`: which customers will buy nothing in the next 90 days."""

from retraining.builtin import cdnow
from retraining.builtin.boosting import BoostingParameters, train_classifier
from retraining.catalog.policy import EntityHoldout
from retraining.catalog.spec import ModelSpec

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
    train=train_classifier,
    metric="roc_auc",
    report=("average_precision", "log_loss", "brier", "accuracy"),
)
