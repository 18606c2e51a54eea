import io
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from matplotlib.image import imread

from retraining.training.bootstrap import Improvement, Interval
from retraining.training.comparison import Comparison
from retraining.training.plots import comparison_plot
from tests.training.comparisons import by_x, by_x_and_noise, compared, spec_of
from tests.training.specs import Scoring, rows

CLASSES = ("gold", "none", "silver and above")


def by_value(features: pd.DataFrame) -> npt.NDArray[np.float64]:
    return features["x"].to_numpy()


def by_noisy_value(features: pd.DataFrame) -> npt.NDArray[np.float64]:
    return (features["x"] + features["noise"]).to_numpy()


def thirds(features: pd.DataFrame) -> npt.NDArray[np.float64]:
    odds = np.exp(np.column_stack([-2 * features["x"], np.zeros(len(features)), 2 * features["x"]]))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def uneven_thirds(features: pd.DataFrame) -> npt.NDArray[np.float64]:
    return thirds(features[["x"]] + features[["noise"]].to_numpy())


def comparison_of(task: str, with_champion: bool) -> Comparison:
    models: dict[str, tuple[Any, Any]] = {
        "binary": (by_x, by_x_and_noise),
        "regression": (by_value, by_noisy_value),
        "multiclass": (thirds, uneven_thirds),
    }
    labels: dict[str, Any] = {
        "binary": lambda x: (x > 0).astype(int),
        "regression": lambda x: x,
        "multiclass": lambda x: np.array(CLASSES)[np.digitize(x, [-0.5, 0.5])],
    }
    classes: dict[str, tuple[Any, ...]] = {"binary": (0, 1), "regression": (), "multiclass": CLASSES}
    challenger, champion = models[task]
    return compared(
        spec_of(task),
        Scoring(challenger),
        Scoring(champion) if with_champion else None,
        classes=classes[task],
        frame=rows(1_000, label=labels[task]),
    )


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_the_picture_is_small_and_grows_a_panel_with_a_champion(task: str) -> None:
    """Under 80 kB, so that it fits into a markdown page, and wider with the bootstrap's panel."""
    alone, both = (comparison_plot(comparison_of(task, with_champion)) for with_champion in (False, True))
    for png in (alone, both):
        assert png.startswith(b"\x89PNG")
        assert len(png) < 80_000
    assert _width(both) > _width(alone)


def _width(png: bytes) -> int:
    return int(imread(io.BytesIO(png), format="png").shape[1])


def test_the_same_comparison_gives_the_same_picture() -> None:
    comparison = comparison_of("binary", True)
    assert comparison_plot(comparison) == comparison_plot(comparison)


def test_many_classes_and_rows_stay_small() -> None:
    """A confusion matrix of thirty classes has no room for names; the picture comes all the same."""

    def label(x: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        return np.arange(len(x)) // 2 % 30

    def scores(features: pd.DataFrame) -> npt.NDArray[np.float64]:
        return np.full((len(features), 30), 1 / 30)

    comparison = compared(spec_of("multiclass"), Scoring(scores), frame=rows(6_000, label=label))
    assert len(comparison_plot(comparison)) < 80_000


@pytest.mark.parametrize("drawn", [[], [0.1, 0.2]])
def test_an_undefined_interval_is_left_out_of_the_picture(drawn: list[float]) -> None:
    """A holdout with one positive may leave few resamples or none in which the metric is defined."""
    undefined = Improvement(0.1, Interval(-np.inf, np.inf, 0.95), np.array(drawn))
    comparison = replace(comparison_of("binary", True), improvement=undefined)
    assert comparison_plot(comparison).startswith(b"\x89PNG")
