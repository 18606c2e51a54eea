"""From a model's specification to the rows it trains on, checked before any estimator sees them."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

import polars as pl

from retraining.errors import EmptyWindow, InsufficientTrainingData, UnusableFeatures, UnusableLabels
from retraining.registry.values import DataFingerprint
from retraining.sources.fingerprint import fingerprint
from retraining.sources.time_column import require_columns, require_time
from retraining.sources.window import Window, labelled_window

if TYPE_CHECKING:
    # The specification names its source, so that at run time the catalog imports this package.
    from retraining.catalog.spec import ModelSpec, Task

_TEXT = (pl.String, pl.Categorical, pl.Enum)
_CLASSES = "classes are text, booleans or whole numbers"


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The labelled rows of a window, ready to be split."""

    frame: pl.DataFrame
    """rows x `spec.columns` as the source types them, by time. No label is missing, no number is infinite;
    `retraining.training.inputs` says how features and labels reach an estimator."""
    time_column: str
    window: Window
    unlabelled: int
    """How many rows of the window were left out because their label is missing."""

    @cached_property
    def fingerprint(self) -> DataFingerprint:
        """Of `frame`: a second for each gigabyte."""
        return fingerprint(self.frame, self.time_column)


def load_training_set(spec: "ModelSpec", as_of: datetime) -> TrainingSet:
    """Read the rows whose labels are complete as of `as_of`, and check them against the specification.

    `as_of` is aware. The same data and the same `as_of` give the same frame, row for row.

    Raises:
        UnreadableSource, MissingColumns, WrongColumnType: as `DataSource.read`.
        EmptyWindow: no row is in the window.
        UnusableLabels: they do not fit the task, are infinite, or are all of one class.
        UnusableFeatures: of a type that no estimator takes, or with infinite values.
        InsufficientTrainingData: fewer labelled rows than `spec.min_rows`.
    """
    window = labelled_window(as_of, spec.label_delay, spec.window)
    source = spec.source.describe()
    rows = spec.source.read(window, time_column=spec.time_column, columns=spec.columns)
    require_columns(source, rows.columns, spec.columns)
    if rows.is_empty():
        raise EmptyWindow(source, str(window))
    require_time(source, spec.time_column, rows.schema[spec.time_column])

    labelled = _with_labels(rows, spec.label)
    unlabelled = rows.height - labelled.height
    if labelled.height < spec.min_rows:
        raise InsufficientTrainingData(labelled.height, spec.min_rows, unlabelled)
    _check_labels(source, labelled[spec.label], spec.task)
    _check_features(source, labelled.drop(spec.label))
    frame = labelled.select(spec.columns)
    return TrainingSet(frame, spec.time_column, window, unlabelled)


def _with_labels(rows: pl.DataFrame, label: str) -> pl.DataFrame:
    has_label = pl.col(label).is_not_null()
    if rows.schema[label].is_float():
        has_label &= pl.col(label).is_not_nan()
    labelled = rows.select(has_label.all()).item()
    return rows if labelled else rows.filter(has_label)  # filtering copies every row that it keeps


def _check_labels(source: str, labels: pl.Series, task: "Task") -> None:
    """Binary: two classes (booleans, whole numbers or text); multiclass: two or more; regression: finite."""
    match task:
        case "binary" | "multiclass":
            problem = _problem_of_classes(labels, most=2 if task == "binary" else None)
        case "regression":
            problem = _problem_of_values(labels)
        case _:
            assert_never(task)
    if problem:
        raise UnusableLabels(source, labels.name, problem)


def _problem_of_classes(labels: pl.Series, most: int | None) -> str | None:
    dtype = labels.dtype
    if dtype.is_float() or dtype.is_decimal():
        # Whole numbers become floats where nulls pass through pandas.
        fractions = labels.filter(labels.cast(pl.Float64) % 1 != 0)
        if fractions.len():
            return f"holds {fractions[0]} in {_rows(fractions.len())}, {_CLASSES}"
    elif not (dtype.is_integer() or isinstance(dtype, (pl.Boolean, *_TEXT))):
        return f"is {dtype}, {_CLASSES}"
    classes = labels.n_unique()
    if classes < 2:
        return f"is {labels[0]!r} in all {_rows(labels.len())}, there is nothing to tell apart"
    if most is not None and classes > most:
        some = ", ".join(map(str, labels.unique().sort().head(5)))
        return f"has {classes:,} classes ({some}{', …' if classes > 5 else ''}), a binary model has two"
    return None


def _problem_of_values(labels: pl.Series) -> str | None:
    if not labels.dtype.is_numeric():
        return f"is {labels.dtype}, a regression needs numbers"
    infinite = _count_infinite(labels)
    return f"is infinite in {_rows(infinite)}" if infinite else None


def _check_features(source: str, features: pl.DataFrame) -> None:
    """Raise with all that is wrong, so that it is mended in one go; time and entity are looked at too."""
    problems: list[tuple[str, str]] = []
    for column in features.iter_columns():
        if not _is_usable(column.dtype):
            problem = f"is {column.dtype}, needs to be a number, boolean, text, category, time or duration"
            problems.append((column.name, problem))
        elif infinite := _count_infinite(column):
            problems.append((column.name, f"is infinite in {_rows(infinite)}"))
    if problems:
        raise UnusableFeatures(source, problems)


def _is_usable(dtype: pl.DataType) -> bool:
    others = (pl.Boolean, pl.Date, pl.Datetime, pl.Duration, pl.Null, *_TEXT)
    return dtype.is_numeric() or isinstance(dtype, others)


def _count_infinite(numbers: pl.Series) -> int:
    return int(numbers.is_infinite().sum()) if numbers.dtype.is_float() else 0


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
