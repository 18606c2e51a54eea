"""Scores beside Evidently's own, computed by Evidently: 100,000 rows a side."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from retraining.drift.methods import Method
from retraining.drift.profile import ReferenceProfile, build_profile
from retraining.drift.scan import WindowScan, scan_window
from retraining.drift.verdict import DriftSettings, check_drift

ROWS = 100_000


def window(seed: int, *, moved: bool) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    by = 0.4 if moved else 0.0
    category = 1 / np.arange(1, 41) ** (1 + by)
    return pl.DataFrame(
        {
            "normal": random.normal(by, 1, ROWS),
            "lognormal": random.lognormal(by, 1, ROWS),
            "heavy": random.standard_t(3, ROWS) * (1 + by),
            "counts": random.poisson(100 + 10 * by, ROWS),
            "few": random.integers(0, 5 if moved else 4, ROWS),
            "zeros": random.exponential(1 + by, ROWS) * (random.random(ROWS) < 0.3 + by / 4),
            "rounded": random.normal(10 * by, 10, ROWS).round(1),
            "same": random.gamma(2, 1, ROWS),
            "category": random.choice(40, ROWS, p=category / category.sum()),
        }
    ).with_columns(
        pl.col("category").cast(pl.String),
        # A tenth is missing, which neither counts as a value.
        pl.when(pl.Series(random.random(ROWS) < 0.9)).then("normal").alias("normal"),
    )


@pytest.fixture(scope="module")
def windows() -> tuple[pl.DataFrame, pl.DataFrame]:
    return window(1, moved=False), window(2, moved=True)


@pytest.fixture(scope="module")
def counted(windows: tuple[pl.DataFrame, pl.DataFrame]) -> tuple[ReferenceProfile, WindowScan]:
    reference, current = windows
    profile = build_profile(reference, reference.columns)
    return profile, scan_window(profile, current)


def by_evidently(
    windows: tuple[pl.DataFrame, pl.DataFrame], columns: Sequence[str], method: str | None
) -> list[float]:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(
        numerical_columns=[column for column in columns if column != "category"],
        categorical_columns=[column for column in columns if column == "category"],
    )
    reference, current = (
        Dataset.from_pandas(frame.select(columns).to_pandas(), definition) for frame in windows
    )
    snapshot = Report([ValueDrift(column=column, method=method) for column in columns]).run(
        current, reference
    )
    return [float(metric["value"]) for metric in snapshot.dict()["metrics"]]


@pytest.mark.parametrize(
    ("method", "evidentlys"),
    [("wasserstein", "wasserstein"), ("psi", "psi"), ("jensen_shannon", "jensenshannon"), ("auto", None)],
)
def test_scores_agree(
    windows: tuple[pl.DataFrame, pl.DataFrame],
    counted: tuple[ReferenceProfile, WindowScan],
    method: Method,
    evidentlys: str | None,
) -> None:
    columns = [name for name in windows[0].columns if method != "wasserstein" or name != "category"]
    expected = dict(zip(columns, by_evidently(windows, columns, evidentlys), strict=True))
    verdict = check_drift(*counted, DriftSettings(method=method))
    found = {column.column: column.score for column in verdict.columns if column.column in columns}
    assert found == pytest.approx(expected, abs=3e-3)
    if method == "auto":
        flagged = {column.column for column in verdict.columns if column.drifted}
        assert flagged == {column for column, score in expected.items() if score >= 0.1}
