"""`profitability`: how many dollars customers will spend in the next 90 days."""

from retraining.builtin import cdnow
from retraining.builtin.boosting import BoostingParameters, train_regressor
from retraining.catalog.policy import EntityHoldout, Guard, PromotionPolicy
from retraining.catalog.spec import ModelSpec

profitability = ModelSpec(
    name="profitability",
    description="Dollars that a customer of CDNOW spends in the next 90 days.",
    task="regression",
    source=cdnow.CdnowSnapshots(newest=1),
    label=cdnow.SPEND_NEXT,
    features=cdnow.FEATURES,
    time_column=cdnow.TIME_COLUMN,
    label_delay=cdnow.LABEL_DELAY,
    holdout=EntityHoldout(column=cdnow.ENTITY_COLUMN, fraction=0.5),
    parameters=BoostingParameters,
    train=train_regressor,
    metric="mae",
    report=("rmse", "r2"),
    # Most customers spend nothing, so predicting little for everybody has a low MAE and explains nothing.
    promotion=PromotionPolicy(guards=(Guard(metric="r2", minimum=0.0),)),
)
