"""Two versions on the same holdout, for the tests of what is made of them."""

from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from retraining import EntityHoldout, ModelSpec
from retraining.registry.values import ModelVersion, ScoringModel
from retraining.training.comparison import Comparison, compare
from retraining.training.holdout import holdout_record, split
from tests.training.specs import START, fingerprint_until, rows, spec_for, version

HOLDOUT = EntityHoldout(column="customer", fraction=0.5)
NOW = fingerprint_until(START + timedelta(days=10))


def spec_of(task: str = "binary", **given: Any) -> ModelSpec:
    return spec_for(task, holdout=HOLDOUT, **given)


def champion_of(spec: ModelSpec, classes: tuple[Any, ...] = (0, 1)) -> ModelVersion:
    trained_on = fingerprint_until(START + timedelta(days=5))
    return version(fingerprint=trained_on, holdout=holdout_record(spec, classes))


def by_x(features: pd.DataFrame) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-3 * features["x"].to_numpy()))


def by_x_and_noise(features: pd.DataFrame) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-(features["x"] + 2 * features["noise"]).to_numpy()))


def compared(
    spec: ModelSpec,
    challenger: ScoringModel,
    champion: ScoringModel | None = None,
    *,
    classes: tuple[Any, ...] = (0, 1),
    frame: pl.DataFrame | None = None,
) -> Comparison:
    """The comparison of two scoring models on rows of two rows a customer, half of the customers held out."""

    def load(of: ModelVersion) -> ScoringModel:
        assert champion is not None
        return champion

    registered = None if champion is None else champion_of(spec, classes)
    return compare(
        spec, split(rows() if frame is None else frame, spec), NOW, challenger, champion=registered, load=load
    )
