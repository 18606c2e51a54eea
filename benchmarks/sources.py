"""Reading a window: what a month out of a year's file costs, beside what that month costs alone."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.ratio import Line, Ratio, measure, print_lines
from retraining.sources.parquet import ParquetSource
from retraining.sources.window import Window

ROWS = 3_000_000
COLUMNS = 20
USED = 6
YEAR = datetime(2025, 1, 1, tzinfo=UTC)
MONTH = Window(datetime(2025, 5, 31, 23, 59, 59, tzinfo=UTC), datetime(2025, 6, 30, 23, 59, 59, tzinfo=UTC))


def ratios(rows: int) -> Iterator[Ratio]:
    """A month of a year, against a file that holds the month alone, and against the whole year."""
    with TemporaryDirectory() as scratch:
        year, month = Path(scratch) / "year.parquet", Path(scratch) / "month.parquet"
        _write(year, month, rows)
        columns = ["at", *(f"x{n}" for n in range(USED))]

        def ours() -> pl.DataFrame:
            return ParquetSource(str(year)).read(MONTH, time_column="at", columns=columns)

        assert ours().height == pl.read_parquet(month).height
        yield measure(
            "a month of a year / that month's own file, read and sorted by polars",
            ours,
            lambda: pl.read_parquet(month, columns=columns).sort(columns),
        )
        yield measure(
            "a month of a year / the whole year, read by polars",
            ours,
            lambda: pl.read_parquet(year, columns=columns),
        )


def _write(year: Path, month: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    step = timedelta(days=365) / rows
    frame = pl.DataFrame(
        {
            "at": pl.Series(np.arange(rows) * int(step / timedelta(microseconds=1))).cast(pl.Duration("us"))
            + pl.Series([YEAR]),
            **{f"x{n}": rng.normal(size=rows) for n in range(COLUMNS)},
        }
    )
    frame.write_parquet(year, row_group_size=100_000)
    inside = (pl.col("at") > MONTH.start) & (pl.col("at") <= MONTH.end)
    frame.filter(inside).write_parquet(month)


def lines(arguments: Sequence[str] = ()) -> Iterator[Line]:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sources", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    yield from (ratio.line() for ratio in ratios(parser.parse_args(arguments).rows))


if __name__ == "__main__":
    print_lines([*lines(sys.argv[1:])])
