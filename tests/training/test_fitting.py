"""Progress never changes what is learnt: every estimator is held to its own plain `fit`."""

import threading
from collections.abc import Iterator
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
from threadpoolctl import threadpool_limits

from retraining.training.fitting import fit_with_progress

SETTING: ContextVar[str] = ContextVar("setting", default="outside")


def data(rows: int = 600, columns: int = 4) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(0)
    features = pd.DataFrame(
        rng.normal(size=(rows, columns)), columns=[f"x{index}" for index in range(columns)]
    )
    return features, (features["x0"] + rng.normal(size=rows) > 0).astype(int)


def watching() -> bool:
    return any(thread.name == "fit-progress" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small fits are fastest on one thread, most of all on a machine that is busy."""
    with threadpool_limits(1):
        yield


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
    RandomForestClassifier(n_estimators=40, random_state=0, oob_score=True, class_weight="balanced"),
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


class Gate:
    """A scoring function that holds the fit at its fifth tree until a report came, at most ten seconds."""

    def __init__(self) -> None:
        self.reported = threading.Event()

    def __call__(self, model: Any, features: Any, labels: Any) -> float:
        if model.n_iter_ == 5:
            assert self.reported.wait(10)
        return 0.0

    def boosting(self) -> HistGradientBoostingClassifier:
        return HistGradientBoostingClassifier(
            max_iter=10, early_stopping=True, scoring=self, n_iter_no_change=10, random_state=0
        )


def test_boosted_histograms_are_watched_while_they_grow() -> None:
    """Shares between start and end come from the running fit, in the context of the caller."""
    gate = Gate()
    seen: list[tuple[float, str, bool]] = []
    SETTING.set("of the caller")

    def progress(share: float, message: str = "") -> None:
        seen.append((share, SETTING.get(), threading.current_thread() is threading.main_thread()))
        if share == 0.5:
            gate.reported.set()

    fit_with_progress(gate.boosting(), *data(), progress)
    assert seen[0] == (0, "of the caller", True)
    assert (0.5, "of the caller", False) in seen
    assert seen[-1] == (1, "of the caller", True)
    assert not watching()


def test_a_report_that_fails_does_not_fail_the_fit(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()

    def progress(share: float, message: str = "") -> None:
        if threading.current_thread() is not threading.main_thread():
            gate.reported.set()
            raise ConnectionError("nobody listens")

    model = fit_with_progress(gate.boosting(), *data(), progress)
    assert model.n_iter_ == 10
    assert "progress is no longer reported" in caplog.text


def test_a_fit_that_fails_ends_its_watch() -> None:
    features, labels = data()
    with pytest.raises(ValueError, match="learning_rate"):
        fit_with_progress(HistGradientBoostingClassifier(learning_rate=-1), features, labels)
    assert not watching()
