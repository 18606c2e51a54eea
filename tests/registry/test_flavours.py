"""Models on disk: what may be stored, what may be loaded, and that both sides score alike."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.models import Model
from mlflow.pyfunc.model import PythonModel
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from retraining.errors import UnloadableVersion, UnsupportedModel
from retraining.registry import flavours
from tests.registry.factories import boosted_model, challenger, features, labels, linear_model


class MeanSpend(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An estimator of a team's own."""

    def fit(self, X: pd.DataFrame, y: Any) -> "MeanSpend":  # noqa: N803 - scikit-learn's name
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X: pd.DataFrame) -> Any:  # noqa: N803
        return np.full(len(X), self.mean_)


class SpendShare(PythonModel):
    """A model that is code."""

    def __init__(self, highest: float) -> None:
        self.highest = highest

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return (model_input["spend"] / self.highest).clip(0, 1)


class Wordy(PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return ["likely"] * len(model_input)


class Short(PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        return [0.5]


def with_country() -> pd.DataFrame:
    return features().assign(country=pd.Categorical(np.where(features().orders > 9, "de", "fr")))


def spend() -> pd.Series:
    return features().spend


def booster(objective: str, classes: int = 1) -> lightgbm.Booster:
    parameters = {"objective": objective, "num_class": classes, "verbose": -1, "num_threads": 1}
    return lightgbm.train(parameters, lightgbm.Dataset(features(), labels(classes=max(classes, 2))), 5)


def round_trip(model: Any, folder: Path, frame: pd.DataFrame | None = None, **facts: Any) -> Any:
    given = challenger(model, input_example=(features() if frame is None else frame).head(3), **facts)
    flavours.save(given, "churn", folder / "model")
    return flavours.load(folder / "model", "churn", "1", verified=True)


MODELS: dict[str, tuple[Callable[[], Any], Callable[[], pd.DataFrame], tuple[int, ...]]] = {
    "boosting": (boosted_model, features, (200,)),
    "boosting on categories": (
        lambda: HistGradientBoostingClassifier(max_iter=5).fit(with_country(), labels()),
        with_country,
        (200,),
    ),
    "boosting, three classes": (
        lambda: HistGradientBoostingClassifier(max_iter=5).fit(features(), labels(classes=3)),
        features,
        (200, 3),
    ),
    "boosting of values": (
        lambda: HistGradientBoostingRegressor(max_iter=5, loss="absolute_error").fit(features(), spend()),
        features,
        (200,),
    ),
    "forest": (lambda: RandomForestClassifier(5).fit(features(), labels()), features, (200,)),
    "neighbours": (lambda: KNeighborsClassifier().fit(features(), labels()), features, (200,)),
    "calibrated": (
        lambda: CalibratedClassifierCV(RidgeClassifier()).fit(features(), labels()),
        features,
        (200,),
    ),
    "grid search": (
        lambda: GridSearchCV(LogisticRegression(max_iter=500), {"C": [1, 2]}, cv=2).fit(features(), labels()),
        features,
        (200,),
    ),
    "transformed target": (
        lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1).fit(
            features(), spend()
        ),
        features,
        (200,),
    ),
    "pipeline": (
        lambda: make_pipeline(
            ColumnTransformer([("one", OneHotEncoder(), ["country"])], remainder=StandardScaler()),
            LogisticRegression(),
        ).fit(with_country(), labels()),
        with_country,
        (200,),
    ),
    "LightGBM classifier": (
        lambda: lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(features(), labels()),
        features,
        (200,),
    ),
    "LightGBM regressor": (
        lambda: lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1).fit(features(), spend()),
        features,
        (200,),
    ),
    "booster": (lambda: booster("binary"), features, (200,)),
    "booster, three classes": (lambda: booster("multiclass", 3), features, (200, 3)),
    "Python function": (lambda: SpendShare(200.0), features, (200,)),
}


@pytest.mark.parametrize("made", MODELS)
def test_a_stored_model_scores_like_the_one_just_trained(made: str, tmp_path: Path) -> None:
    make_model, make_frame, shape = MODELS[made]
    model, frame = make_model(), make_frame()

    scores = round_trip(model, tmp_path, frame).score(frame)

    assert scores.dtype == np.float64
    assert scores.shape == shape
    assert len(np.unique(scores)) > 2
    np.testing.assert_array_equal(scores, flavours.as_scoring(model, "churn").score(frame))


@pytest.mark.parametrize("made", ["boosting", "booster", "Python function"])
def test_columns_may_come_in_another_order_and_with_others(made: str, tmp_path: Path) -> None:
    loaded = round_trip(MODELS[made][0](), tmp_path)

    shuffled = features().assign(unknown=1)[["unknown", "recency", "spend", "orders"]]

    np.testing.assert_array_equal(loaded.score(shuffled), loaded.score(features()))


def test_a_binary_score_is_the_probability_of_class_one() -> None:
    scores = flavours.as_scoring(linear_model(), "churn").score(features())

    assert np.mean(scores[labels() == 1]) > np.mean(scores[labels() == 0])


@pytest.mark.parametrize("only_class", [0.0, 1.0])
def test_a_classifier_that_saw_one_class_is_sure_of_it(only_class: float) -> None:
    model = RandomForestClassifier(3).fit(features(), np.full(200, only_class))

    assert np.all(flavours.as_scoring(model, "churn").score(features()) == only_class)


@pytest.mark.parametrize(
    ("make_model", "problem"),
    [
        (
            lambda: RidgeClassifier().fit(features(), labels()),
            "RidgeClassifier has no predict_proba; wrap it in Calibrated",
        ),
        (Wordy, "its predictions are not numbers"),
        (Short, r"shape \(1,\) for 200 rows; \(200,\) or \(200, classes\) is needed"),
    ],
)
def test_a_model_that_gives_no_scores_is_refused_with_the_reason(
    make_model: Callable[[], Any], problem: str
) -> None:
    with pytest.raises(UnsupportedModel, match=f"'churn'.*{problem}"):
        flavours.as_scoring(make_model(), "churn").score(features())


def test_an_unknown_type_is_refused_by_name_with_the_remedy(tmp_path: Path) -> None:
    model = MeanSpend().fit(features(), spend())

    with pytest.raises(UnsupportedModel) as refusal:
        flavours.save(challenger(model), "value", tmp_path / "model")

    assert "trusted_types=('tests.registry.test_flavours.MeanSpend',)" in str(refusal.value)
    assert not (tmp_path / "model").exists()


def test_a_type_that_its_team_trusts_is_stored_and_loaded(tmp_path: Path) -> None:
    model = MeanSpend().fit(features(), spend())

    loaded = round_trip(model, tmp_path, trusted_types=("tests.registry.test_flavours.MeanSpend",))

    np.testing.assert_allclose(loaded.score(features()), spend().mean())


@pytest.mark.parametrize("made", ["lambda", "local class"])
def test_what_skops_cannot_store_is_refused_with_the_reason(made: str, tmp_path: Path) -> None:
    class Local(MeanSpend):
        pass

    model = (
        Local().fit(features(), spend())
        if made == "local class"
        else TransformedTargetRegressor(Ridge(), func=lambda y: y + 1, inverse_func=lambda y: y - 1).fit(
            features(), spend()
        )
    )

    with pytest.raises(UnsupportedModel, match="'value'"):
        flavours.save(challenger(model), "value", tmp_path / "model")


@pytest.mark.parametrize("model", [{"weights": 1}, None, len, LogisticRegression])
def test_what_is_no_fitted_model_has_no_flavour(model: Any) -> None:
    with pytest.raises(UnsupportedModel, match="has no flavour here; return a scikit-learn estimator"):
        flavours.as_scoring(model, "churn")


def test_files_of_unknown_origin_load_with_known_types_only(tmp_path: Path) -> None:
    """Whoever can write a model's files can write its list of trusted types, too."""
    own = MeanSpend().fit(features(), spend())
    flavours.save(
        challenger(own, trusted_types=("tests.registry.test_flavours.MeanSpend",)), "value", tmp_path / "own"
    )
    flavours.save(challenger(boosted_model()), "churn", tmp_path / "boosted")
    flavours.save(challenger(SpendShare(9.0)), "share", tmp_path / "code")

    assert flavours.load(tmp_path / "boosted", "churn", "1", verified=False).score(features()).shape == (200,)
    with pytest.raises(UnloadableVersion, match=r"not trusted: tests\.registry\.test_flavours\.MeanSpend"):
        flavours.load(tmp_path / "own", "value", "1", verified=False)
    with pytest.raises(UnloadableVersion, match="loading it runs the code inside"):
        flavours.load(tmp_path / "code", "share", "1", verified=False)


@pytest.mark.parametrize("verified", [True, False])
def test_a_pickled_estimator_is_never_loaded(tmp_path: Path, verified: bool) -> None:
    mlflow.sklearn.save_model(
        linear_model(),
        str(tmp_path / "model"),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )

    with pytest.raises(UnloadableVersion, match="stored as cloudpickle, which can run any code"):
        flavours.load(tmp_path / "model", "churn", "3", verified=verified)


def test_spoilt_files_are_named_as_such(tmp_path: Path) -> None:
    flavours.save(challenger(), "churn", tmp_path / "model")
    (tmp_path / "model" / "model.skops").write_bytes(b"not a zip")

    with pytest.raises(UnloadableVersion, match="version 3 of 'churn' cannot be loaded: BadZipFile"):
        flavours.load(tmp_path / "model", "churn", "3", verified=True)
    with pytest.raises(UnloadableVersion, match="MLmodel"):
        flavours.load(tmp_path, "churn", "3", verified=True)


def test_requirements_are_pinned_and_only_what_the_model_needs(tmp_path: Path) -> None:
    def names(model: Any) -> set[str]:
        folder = tmp_path / type(model).__name__
        flavours.save(challenger(model), "churn", folder)
        lines = (folder / "requirements.txt").read_text().split()
        assert all("==" in line for line in lines)
        return {line.partition("==")[0] for line in lines}

    assert names(boosted_model()) == {"mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops"}
    assert names(booster("binary")) == {"lightgbm", "mlflow", "numpy", "pandas", "scipy"}
    assert names(SpendShare(9.0)) == {"cloudpickle", "mlflow", "numpy", "pandas"}
    assert flavours.requirements("sklearn", ["lightgbm.basic.Booster", "collections.OrderedDict"])[
        0
    ].startswith("lightgbm==")


def test_the_signature_has_the_columns_and_the_example_is_stored(tmp_path: Path) -> None:
    flavours.save(challenger(boosted_model()), "churn", tmp_path / "model")

    stored = Model.load(str(tmp_path / "model"))
    assert [(spec.name, spec.type.name) for spec in stored.signature.inputs] == [
        ("orders", "long"),
        ("spend", "double"),
        ("recency", "double"),
    ]
    assert stored.signature.outputs.inputs[0].type == np.dtype("float64")
    example = json.loads((tmp_path / "model" / "input_example.json").read_text())
    assert example["columns"] == ["orders", "spend", "recency"]
    assert len(example["data"]) == 3


def test_the_digest_sees_every_change(tmp_path: Path) -> None:
    flavours.save(challenger(), "churn", tmp_path / "model")
    before = flavours.files_digest(tmp_path / "model")
    assert flavours.files_digest(tmp_path / "model") == before

    (tmp_path / "model" / "more").mkdir()
    (tmp_path / "model" / "more" / "loader.py").write_text("")

    assert flavours.files_digest(tmp_path / "model") != before
