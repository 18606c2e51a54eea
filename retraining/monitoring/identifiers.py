"""Columns that are never the same again: identifiers that count up, clocks, codes of ever new things.

Their values move on with every row, so that any later window differs from the reference, and it means
nothing. Only the reference's own rows can tell, in their order of time, so they are asked when it is made.
"""

import polars as pl

LOOKED_AT = 65_536
"""So many rows are looked at, evenly spread over time."""
LEAST_TIMES = 20
WITH_TIME = 0.99
"""Rank correlation with the rows' time (Spearman 1904) from which on a number only says when its row is."""
DENSE = 2.0
"""Distinct whole numbers that fill at least half of their range are numbers of rows."""
NEW_SHARE = 0.5
"""With so many new categories in the later half of the rows, categories are names of single things."""


def find_counters(frame: pl.DataFrame, features: tuple[str, ...], time_column: str) -> dict[str, str]:
    """The features of `frame` that nothing can be compared with, each with the reason."""
    step = max(frame.height // LOOKED_AT, 1)
    in_order = frame if frame[time_column].is_sorted() else frame.sort(time_column)
    rows = in_order.gather_every(step) if step > 1 else in_order
    found = {name: _why(rows, name, time_column, frame.height) for name in features if name in rows.columns}
    return {name: reason for name, reason in found.items() if reason is not None}


def _why(rows: pl.DataFrame, name: str, time_column: str, height: int) -> str | None:
    column = rows[name]
    if name == time_column or not len(column):
        return None
    if column.dtype.is_numeric():
        return _why_number(rows, name, time_column, height)
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        return _why_category(rows, name, time_column)
    return None


def _why_number(rows: pl.DataFrame, name: str, time_column: str, height: int) -> str | None:
    present = rows.lazy().select(at=pl.col(time_column), value=pl.col(name))
    if rows[name].dtype.is_float():
        present = present.filter(pl.col("value").is_finite())
    there = present.drop_nulls().collect()
    distinct = there["value"].n_unique()
    if distinct < LEAST_TIMES:
        return None
    if there["at"].n_unique() >= LEAST_TIMES:
        # Spearman's correlation is Pearson's of the ranks; polars has none of a time and a small integer.
        correlation = there.select(pl.corr(pl.col("at").rank(), pl.col("value").rank())).item()
        if abs(correlation) >= WITH_TIME:
            return "counts on with time, as identifiers and clocks do"
    if rows[name].dtype.is_integer() and distinct == there.height:
        span = int(there["value"].max()) - int(there["value"].min())  # type: ignore[arg-type]  # there are values
        if span <= DENSE * height:
            return "is another whole number in every row, as identifiers are"
    return None


def _why_category(rows: pl.DataFrame, name: str, time_column: str) -> str | None:
    there = (
        rows.lazy().select(at=pl.col(time_column), value=pl.col(name).cast(pl.String)).drop_nulls().collect()
    )
    if there.is_empty():
        return None
    # Whole moments: the rows of one moment have no order.
    middle = there["at"][there.height // 2]
    first, second = there.filter(pl.col("at") < middle), there.filter(pl.col("at") >= middle)
    if first.height < LEAST_TIMES or second.height < LEAST_TIMES:
        return None
    new = (~second["value"].is_in(first["value"].unique().implode())).mean()
    assert isinstance(new, float)
    if new < NEW_SHARE:
        return None
    return f"names single things: {new:.0%} of its later values never came before"
