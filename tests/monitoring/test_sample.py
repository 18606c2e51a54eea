from pathlib import Path

import numpy as np
import polars as pl

from retraining.monitoring.sample import SAMPLE_ROWS, sample_rows
from retraining.sources.lazy import LazyRows

COLUMNS = ("x", "word")


def test_few_rows_are_all_taken() -> None:
    frame = pl.DataFrame({"x": [1, 2, 3], "word": ["a", "b", None], "other": [0, 0, 0]})
    taken = sample_rows(LazyRows([frame]), COLUMNS)
    assert taken.columns == ["x", "word"]
    assert taken.sort("x").rows() == [(1, "a"), (2, "b"), (3, None)]


def test_of_many_rows_twenty_thousand_are_drawn_evenly_from_all_parts(tmp_path: Path) -> None:
    for part in range(3):
        pl.DataFrame({"x": np.arange(300_000) + part * 300_000}).write_parquet(tmp_path / f"{part}.parquet")
    rows = LazyRows([pl.scan_parquet(file) for file in sorted(tmp_path.iterdir())], pl.col("x") >= 100_000)

    taken = sample_rows(rows, COLUMNS)

    assert taken.height == SAMPLE_ROWS == taken["x"].n_unique()
    assert taken["x"].min() >= 100_000  # type: ignore[operator]  # there are numbers
    shares = np.histogram(taken["x"], bins=8, range=(100_000, 900_000))[0] / SAMPLE_ROWS
    assert np.allclose(shares, 1 / 8, atol=0.015)
    assert taken.equals(sample_rows(rows, COLUMNS))


def test_no_rows_make_an_empty_sample_with_its_columns() -> None:
    assert sample_rows(LazyRows([pl.DataFrame(schema={"x": pl.Int64})]), COLUMNS).schema == {"x": pl.Int64}
