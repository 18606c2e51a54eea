"""Sources that cannot be scanned are read, with what there is of the wanted columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl
import pytest

from retraining.errors import MissingColumns
from retraining.sources.lazy import scan_rows
from retraining.sources.time_column import require_columns
from retraining.sources.window import Window

WINDOW = Window(None, datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(frozen=True)
class Own:
    """A team's own source: it reads, and nothing more."""

    frame: pl.DataFrame
    asked: list[Window] = field(default_factory=list)

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        self.asked.append(window)
        require_columns("own", self.frame.columns, [time_column, *columns])
        return self.frame.select(columns)

    def describe(self) -> str:
        return "own"


def test_a_source_that_only_reads_is_read_once() -> None:
    source = Own(pl.DataFrame({"at": [1], "x": [2], "y": [3]}))

    rows = scan_rows(source, WINDOW, time_column="at", columns=["y"])

    [frame] = rows.parts
    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == ["at", "y"]
    assert rows.where is None
    assert source.asked == [WINDOW]


def test_columns_that_are_gone_are_left_out() -> None:
    rows = scan_rows(Own(pl.DataFrame({"at": [1], "x": [2]})), WINDOW, time_column="at", columns=["x", "y"])

    assert rows.parts[0].lazy().collect_schema().names() == ["at", "x"]


def test_without_its_time_column_a_source_has_no_window() -> None:
    with pytest.raises(MissingColumns, match="missing column at"):
        scan_rows(Own(pl.DataFrame({"x": [2]})), WINDOW, time_column="at", columns=["x"])
