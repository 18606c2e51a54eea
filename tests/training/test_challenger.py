from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retraining import TrainingInput, TrainingParameters
from retraining.errors import DataProblem, TrainingFailed, UnsupportedModel
from retraining.training.challenger import train_challenger
from retraining.training.holdout import split
from retraining.training.inputs import features_of
from tests.training.specs import rows, spec_for


class Strength(TrainingParameters):
    strength: float = Field(1.0, gt=0)


def test_an_estimator_is_built_from_the_parameters_and_fitted_on_the_training_side() -> None:
    spec = spec_for(
        parameters=Strength,
        estimator=lambda given: make_pipeline(StandardScaler(), LogisticRegression(C=given.strength)),
    )
    train = split(rows(), spec).train
    model = train_challenger(spec, Strength(strength=0.01), train)
    assert model[-1].C == 0.01
    assert model.feature_names_in_.tolist() == ["x", "noise"]
    assert (model.predict(features_of(train, spec)) == train["label"].to_numpy()).mean() > 0.8


def test_a_served_model_predicts_the_teams_own_classes() -> None:
    spec = spec_for(estimator=lambda given: LogisticRegression())
    train = rows(label=lambda x: np.where(x > 0, "stays", "leaves"))
    model = train_challenger(spec, TrainingParameters(), train)
    assert set(model.predict(features_of(train, spec))) == {"stays", "leaves"}


def test_a_callable_gets_features_labels_parameters_and_progress() -> None:
    got: list[TrainingInput] = []

    def train(given: TrainingInput) -> object:
        got.append(given)
        given.progress(0.5, "half")
        return "a model"

    reports: list[tuple[float, str]] = []
    spec = spec_for(train=train, parameters=Strength)
    model = train_challenger(
        spec, Strength(strength=2), rows(20), lambda share, message="": reports.append((share, message))
    )
    assert model == "a model"
    assert list(got[0].features.columns) == ["x", "noise"]
    assert isinstance(got[0].labels, pd.Series)
    assert len(got[0].features) == len(got[0].labels) == 20
    assert got[0].parameters == Strength(strength=2)
    assert reports == [(0.5, "half")]


def test_a_failure_of_the_teams_code_is_told_in_its_words() -> None:
    def train(given: TrainingInput) -> object:
        raise KeyError("region")

    with pytest.raises(TrainingFailed, match="training of 'tested' failed: KeyError: 'region'") as failure:
        train_challenger(spec_for(train=train), TrainingParameters(), rows(20))
    assert isinstance(failure.value.__cause__, KeyError)


def test_a_factory_that_fails_is_a_failed_training_too() -> None:
    def estimator(parameters: Any) -> Any:
        raise ImportError("no module named catboost")

    with pytest.raises(TrainingFailed, match="ImportError: no module named catboost"):
        train_challenger(spec_for(estimator=estimator), TrainingParameters(), rows(20))


def test_an_error_of_the_product_passes_unchanged() -> None:
    def train(given: TrainingInput) -> object:
        raise DataProblem("prices.csv", "is from yesterday")

    with pytest.raises(DataProblem, match=r"prices\.csv: is from yesterday"):
        train_challenger(spec_for(train=train), TrainingParameters(), rows(20))


def test_a_callable_that_returns_nothing_is_told_to_return_the_model() -> None:
    with pytest.raises(UnsupportedModel, match="train returned None; return the fitted model"):
        train_challenger(spec_for(train=lambda given: None), TrainingParameters(), rows(20))
