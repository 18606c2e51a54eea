"""What estimators get: pandas features and labels out of a polars frame, the same types every time.

A column's pandas type follows from its kind alone, never from whether this window happens to hold nulls:
otherwise a signature learnt from one window would refuse the next.

| source column | feature |
|---|---|
| integers, decimals, booleans, 64-bit floats | float64; null is NaN, booleans are 1 and 0 |
| 32-bit floats | float32; null is NaN |
| durations | float64 seconds |
| strings, categories | object of `str`; null is None |
| dates, datetimes | datetime64 without a zone, in UTC; null is NaT |

A specification with `compact_features` gets half the memory: numbers, booleans and durations as float32, and
strings and categories as pandas categories, unordered, in sorted order of the values that the rows hold.

Labels of a regression are float64. Labels of a classification stay what the team calls its classes, so that
the served model predicts those names: strings stay strings; booleans and whole numbers are integers. Its
classes are in sorted order, a binary model's positive class is the second (1, True, or the last by name).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from retraining.catalog.spec import ModelSpec
from retraining.errors import UnusableLabels, WrongColumnType
from retraining.training.metrics import Labels

if TYPE_CHECKING:
    import pandas as pd

Classes = tuple[str, ...] | tuple[int, ...]


def features_of(frame: pl.DataFrame, spec: ModelSpec) -> "pd.DataFrame":
    """The model's features, rows x features in the specification's order, typed as the module says.

    Raises:
        WrongColumnType: a feature is of a kind that no table above lists (lists, structs, binary).
    """
    features = frame.select(_feature(frame, name, spec) for name in spec.features)
    if not spec.compact_features:
        return features.to_pandas()
    import pandas as pd

    numbers = [name for name, dtype in features.schema.items() if dtype.is_numeric()]
    # The numbers at once: they share one array, which estimators take without a copy of each column.
    compact = features.select(numbers).to_pandas() if numbers else pd.DataFrame(index=range(frame.height))
    for place, name in enumerate(spec.features):
        if name not in numbers:
            compact.insert(place, name, _compact(features[name]))
    return compact


def labels_of(frame: pl.DataFrame, spec: ModelSpec) -> "pd.Series":
    """The labels as training gets them, (rows,); see the module. The frame has no null labels (`split`)."""
    return _labels(frame, spec).to_pandas()


def classes_of(frame: pl.DataFrame, spec: ModelSpec) -> Classes:
    """The distinct labels in sorted order; empty for a regression."""
    if spec.task == "regression":
        return ()
    return tuple(_labels(frame, spec).unique().sort().to_list())


def encode_labels(frame: pl.DataFrame, spec: ModelSpec, classes: Classes) -> Labels:
    """The labels as metrics take them: class indices by position in `classes`, or values.

    Raises:
        UnusableLabels: a label is not among the classes.
    """
    labels = _labels(frame, spec)
    if spec.task == "regression":
        return labels.to_numpy().astype(np.float64)
    unseen = sorted(set(labels.unique().to_list()) - set(classes))
    if unseen:
        raise UnusableLabels(
            spec.source.describe(),
            spec.label,
            f"has classes in the holdout that no training row has ({_some(unseen)}); "
            "leave such rows out of the source, or read a longer window",
        )
    positions = {value: position for position, value in enumerate(classes)}
    return labels.replace_strict(positions, return_dtype=pl.Float64).to_numpy()


def drop_unlabelled(frame: pl.DataFrame, spec: ModelSpec) -> pl.DataFrame:
    """The rows whose label is known."""
    label = pl.col(spec.label)
    known = label.is_not_null()
    if frame.schema[spec.label].is_float():
        known &= label.is_not_nan()
    return frame if frame.select(known.all()).item() else frame.filter(known)


def check_classes(classes: Classes, spec: ModelSpec, side: str) -> None:
    """Refuse a side of the split whose labels cannot train or judge a classifier.

    Raises:
        UnusableLabels: fewer than two classes, or more than two for a binary task.
    """
    if spec.task == "regression":
        return
    if len(classes) < 2:
        found = f"is {classes[0]!r} in every row" if classes else "is in no row"
        raise UnusableLabels(
            spec.source.describe(),
            spec.label,
            f"{found} of the {side}; read a longer window or more entities",
        )
    if spec.task == "binary" and len(classes) > 2:
        raise UnusableLabels(
            spec.source.describe(),
            spec.label,
            f"has {len(classes)} classes in the {side} ({_some(classes)}), a binary model has two",
        )


def _compact(column: pl.Series) -> "pd.Series":
    if column.dtype != pl.Categorical:
        return column.to_pandas()
    import pandas as pd

    values = column.unique().drop_nulls().cast(pl.String).sort()
    codes = column.cast(pl.Enum(values)).to_physical().cast(pl.Int32).fill_null(-1)
    kind = pd.CategoricalDtype(values.to_list())
    return pd.Series(pd.Categorical.from_codes(codes.to_numpy(), dtype=kind))  # type: ignore[arg-type]  # an array is a sequence


def _feature(frame: pl.DataFrame, name: str, spec: ModelSpec) -> pl.Expr:
    dtype = frame.schema[name]
    column = pl.col(name)
    if dtype == pl.Float32:
        return column
    number = pl.Float32 if spec.compact_features else pl.Float64
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        return column.cast(number)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return column.cast(pl.Categorical if spec.compact_features else pl.String)
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return naive_utc(column, dtype)
    if isinstance(dtype, pl.Duration):
        return (column.dt.total_microseconds().cast(pl.Float64) / 1e6).cast(number)
    raise WrongColumnType(spec.source.describe(), name, str(dtype), "to be a number, boolean, string or time")


def naive_utc(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A date or datetime as a datetime without a zone, in UTC; what has no zone is taken as UTC."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column.cast(pl.Datetime("us"))


def _labels(frame: pl.DataFrame, spec: ModelSpec) -> pl.Series:
    label = frame[spec.label]
    dtype = label.dtype
    if spec.task == "regression":
        if dtype.is_numeric() or dtype == pl.Boolean:
            return label.cast(pl.Float64)
        raise WrongColumnType(
            spec.source.describe(), spec.label, str(dtype), "to be a number for a regression"
        )
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return label.cast(pl.String)
    if dtype.is_integer() or dtype == pl.Boolean:
        return label.cast(pl.Int64)
    if dtype.is_numeric() and bool((label.cast(pl.Float64).drop_nulls() % 1 == 0).all()):
        return label.cast(pl.Int64)  # whole numbers that nulls turned into floats on their way
    raise WrongColumnType(
        spec.source.describe(),
        spec.label,
        str(dtype),
        "to be a boolean, string or whole number for a classification",
    )


def _some(values: Sequence[object], most: int = 5) -> str:
    listed = ", ".join(map(str, values[:most]))
    return listed + (", ..." if len(values) > most else "")
