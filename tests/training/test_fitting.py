"""Progress never changes what is learnt: every estimator is held to its own plain `fit`."""

import threading
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from retraining.training.fitting import fit_with_progress

SETTING: ContextVar[str] = ContextVar("setting", default="outside")


def data(rows: int = 600, columns: int = 4) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(0)
    features = pd.DataFrame(
        rng.normal(size=(rows, columns)), columns=[f"x{index}" for index in range(columns)]
    )
    return features, (features["x0"] + rng.normal(size=rows) > 0).astype(int)


def predictions(model: Any, features: pd.DataFrame) -> np.ndarray:
    return np.asarray(
        model.predict_proba(features) if hasattr(model, "predict_proba") else model.predict(features)
    )


ESTIMATORS = [
    HistGradientBoostingClassifier(max_iter=30, random_state=0),
    HistGradientBoostingRegressor(max_iter=30, random_state=0, max_features=0.5, early_stopping=True),
    GradientBoostingClassifier(n_estimators=25, random_state=0, subsample=0.5),
    RandomForestClassifier(n_estimators=25, random_state=0),
    RandomForestRegressor(n_estimators=23, random_state=3, max_samples=0.5),
    ExtraTreesClassifier(n_estimators=20, random_state=0),
    LGBMClassifier(n_estimators=25, random_state=0, verbose=-1, n_jobs=1),
    LogisticRegression(max_iter=200, warm_start=True),
    RandomForestClassifier(n_estimators=12, random_state=0, oob_score=True, class_weight="balanced"),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("in_pipeline", [False, True])
def test_reporting_progress_gives_the_model_of_a_plain_fit(estimator: Any, in_pipeline: bool) -> None:
    features, labels = data()
    model = make_pipeline(StandardScaler(), estimator) if in_pipeline else estimator
    plain = clone(model).fit(features, labels)
    seen: list[float] = []
    followed = fit_with_progress(clone(model), features, labels, lambda share, message="": seen.append(share))
    np.testing.assert_array_equal(predictions(followed, features), predictions(plain, features))
    assert seen[0] == 0
    assert seen[-1] == 1
    assert seen == sorted(seen)
    followed_parameters = {name: str(value) for name, value in followed.get_params().items()}
    assert followed_parameters == {name: str(value) for name, value in plain.get_params().items()}


@pytest.mark.parametrize(
    ("estimator", "steps"),
    [
        (RandomForestClassifier(n_estimators=25, random_state=0), 10),
        (GradientBoostingClassifier(n_estimators=12, random_state=0), 12),
        (LGBMClassifier(n_estimators=15, verbose=-1, n_jobs=1), 15),
        (make_pipeline(StandardScaler(), LGBMClassifier(n_estimators=15, verbose=-1, n_jobs=1)), 15),
        (LogisticRegression(), 0),
        (RandomForestClassifier(n_estimators=25, random_state=None), 0),  # growing would draw other trees
        (RandomForestClassifier(n_estimators=5, random_state=0), 0),
    ],
    ids=str,
)
def test_an_estimator_reports_as_often_as_it_can_without_cost(estimator: Any, steps: int) -> None:
    seen: list[float] = []
    fit_with_progress(estimator, *data(), lambda share, message="": seen.append(share))
    assert len(seen) == steps + 2  # and the start and the end


def test_boosted_histograms_are_watched_while_they_grow() -> None:
    """Shares between start and end arrive from the running fit, in the context of the caller."""
    features, labels = data(4000, 10)
    seen: list[tuple[float, str, bool]] = []
    trees = 400
    SETTING.set("of the caller")
    enough = threading.Event()

    class Patient(HistGradientBoostingClassifier):
        """Grows tree after tree until somebody has looked three times."""

        def fit(self, features: Any, labels: Any) -> Any:
            rounds = 0
            while not enough.is_set() and rounds < 200:
                super().fit(features, labels)
                rounds += 1
            return self

    def progress(share: float, message: str = "") -> None:
        seen.append((share, SETTING.get(), threading.current_thread() is threading.main_thread()))
        if len(seen) >= 4:
            enough.set()

    fit_with_progress(Patient(max_iter=trees, random_state=0), features, labels, progress)
    between = seen[1:-1]
    assert len(between) >= 3
    assert all(0 <= share <= 1 for share, _, _ in seen)
    assert any(0 < share < 1 for share, _, _ in between)
    assert {setting for _, setting, _ in seen} == {"of the caller"}
    assert not any(is_main for _, _, is_main in between)
    assert not any(thread.name == "fit-progress" for thread in threading.enumerate())


def test_a_report_that_fails_does_not_fail_the_fit(caplog: pytest.LogCaptureFixture) -> None:
    features, labels = data(4000, 10)
    refused = threading.Event()

    class Patient(HistGradientBoostingClassifier):
        def fit(self, features: Any, labels: Any) -> Any:
            rounds = 0
            while not refused.is_set() and rounds < 200:
                super().fit(features, labels)
                rounds += 1
            return self

    def progress(share: float, message: str = "") -> None:
        if threading.current_thread() is not threading.main_thread():
            refused.set()
            raise ConnectionError("nobody listens")

    model = fit_with_progress(Patient(max_iter=100, random_state=0), features, labels, progress)
    assert model.n_iter_ == 100
    assert "progress is no longer reported" in caplog.text


def test_a_fit_that_fails_ends_its_watch() -> None:
    features, labels = data()
    with pytest.raises(ValueError, match="learning_rate"):
        fit_with_progress(HistGradientBoostingClassifier(learning_rate=-1), features, labels)
    assert not any(thread.name == "fit-progress" for thread in threading.enumerate())
