"""The door to Evidently: the HTML report that people look at, of samples, in a process of its own.

It takes Evidently four seconds to be imported, and hundreds of megabytes. The verdict is not made here; the
report shows the distributions behind it.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import polars as pl

from retraining.drift.kinds import as_numbers, as_text, find_kind, is_readable_as
from retraining.errors import ReportFailed
from retraining.triggers.evaluation import ColumnScore

MAX_COLUMNS = 200
MAX_CATEGORIES = 100
"""The most frequent categories are shown, the others as one."""
OTHERS = "(all others)"
LONGEST_SECONDS = 300.0

_EVIDENTLYS = {"wasserstein": "wasserstein", "jensen_shannon": "jensenshannon", "psi": "psi"}
"""The methods whose scores mean the same there. Its tests give p-values instead."""
_REFERENCE, _CURRENT, _SHOWN, _HTML = "reference.parquet", "current.parquet", "shown.json", "report.html"


@dataclass(frozen=True)
class ShownColumn:
    """A column of the report."""

    name: str
    kind: Literal["numeric", "categorical"]
    method: str | None = None
    threshold: float | None = None


async def drift_report(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    columns: Sequence[str],
    time_column: str,
    scores: Sequence[ColumnScore] = (),
) -> bytes:
    """The report as HTML: how each column is distributed in two samples, in the order of `scores`.

    Columns that either sample has no values of cannot be drawn and are left out.

    Raises:
        ReportFailed: no column can be drawn, Evidently raised, or took more than five minutes.
    """
    frames, shown = comparable(reference, current, columns=columns, time_column=time_column, scores=scores)
    if not shown:
        raise ReportFailed("no column has values in both windows")
    with TemporaryDirectory(prefix="drift-report-") as name:
        folder = Path(name)
        for frame, file in zip(frames, (_REFERENCE, _CURRENT), strict=True):
            frame.write_parquet(folder / file)
        (folder / _SHOWN).write_text(json.dumps([vars(column) for column in shown]))
        await _run_evidently(folder)
        return (folder / _HTML).read_bytes()


async def _run_evidently(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-m", "retraining.monitoring.report", str(folder)),
        env={**os.environ, "DO_NOT_TRACK": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), LONGEST_SECONDS)
    except TimeoutError as exc:
        raise ReportFailed(f"Evidently took more than {LONGEST_SECONDS:g} s") from exc
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise ReportFailed(f"Evidently: {lines[-1] if lines else f'exit code {process.returncode}'}")


def comparable(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    columns: Sequence[str],
    time_column: str,
    scores: Sequence[ColumnScore] = (),
) -> tuple[tuple[pl.DataFrame, pl.DataFrame], list[ShownColumn]]:
    """Both samples as the check compares them, in numbers and text, and what of them can be shown."""
    by_name = {score.column: score for score in scores}
    ordered = dict.fromkeys([*(name for name in by_name if name in columns), *columns])
    shown: list[ShownColumn] = []
    sides: tuple[list[pl.Series], list[pl.Series]] = ([], [])
    for name in ordered:
        if name not in reference.columns or name not in current.columns or len(shown) == MAX_COLUMNS:
            continue
        kind = find_kind(reference.schema[name])
        if kind is None or not is_readable_as(kind, current.schema[name]):
            continue
        drawn: Literal["numeric", "categorical"]
        if kind in ("numeric", "datetime"):
            drawn = "numeric"
            pair = tuple(_numbers(frame, name, time_column) for frame in (reference, current))
        else:
            drawn = "categorical"
            pair = _categories(reference, current, name)
        if any(values.null_count() == len(values) for values in pair):
            continue
        for side, values in zip(sides, pair, strict=True):
            side.append(values)
        score = by_name.get(name)
        method = None if score is None else _EVIDENTLYS.get(score.method or "")
        shown.append(ShownColumn(name, drawn, method, score.threshold if score and method else None))
    return (pl.DataFrame(sides[0]), pl.DataFrame(sides[1])), shown


def _numbers(frame: pl.DataFrame, name: str, time_column: str) -> pl.Series:
    number = as_numbers(name, frame.schema[name], time_column)
    return frame.select(pl.when(number.is_finite()).then(number).alias(name)).to_series()


def _categories(reference: pl.DataFrame, current: pl.DataFrame, name: str) -> tuple[pl.Series, pl.Series]:
    before, after = (
        frame.select(as_text(name, frame.schema[name]).cast(pl.String).alias(name)).to_series()
        for frame in (reference, current)
    )
    kept = before.drop_nulls().value_counts(sort=True).head(MAX_CATEGORIES)[name]
    return _with_others(before, kept), _with_others(after, kept)


def _with_others(values: pl.Series, kept: pl.Series) -> pl.Series:
    value = pl.col(values.name)
    shown = pl.when(value.is_in(kept.implode()) | value.is_null()).then(value).otherwise(pl.lit(OTHERS))
    few = len(kept) < MAX_CATEGORIES  # all of the reference's: what is new is worth its name
    return (
        values
        if few and values.n_unique() <= 2 * MAX_CATEGORIES
        else values.to_frame().select(shown.alias(values.name)).to_series()
    )


def write_html(folder: Path) -> None:
    """Let Evidently draw what lies in the folder. For the process of its own."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    shown = [ShownColumn(**column) for column in json.loads((folder / _SHOWN).read_text())]
    definition = DataDefinition(
        numerical_columns=[column.name for column in shown if column.kind == "numeric"],
        categorical_columns=[column.name for column in shown if column.kind == "categorical"],
    )
    current, reference = (
        Dataset.from_pandas(pd.read_parquet(folder / file), definition) for file in (_CURRENT, _REFERENCE)
    )
    # Its preset would run every test three times.
    metrics = [
        ValueDrift(column=column.name, method=column.method, threshold=column.threshold) for column in shown
    ]
    snapshot = Report(metrics).run(current, reference)
    (folder / _HTML).write_text(snapshot.get_html_str(as_iframe=False))


if __name__ == "__main__":
    write_html(Path(sys.argv[1]))
