"""What of two samples Evidently is given; `test_check.py` has it drawn."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from retraining.errors import ReportFailed
from retraining.monitoring.report import MAX_CATEGORIES, OTHERS, ShownColumn, comparable, drift_report
from retraining.triggers.evaluation import ColumnScore

AT = [datetime(2026, 1, 1) + timedelta(days=row) for row in range(4)]


def score(column: str, method: str | None, threshold: float | None = 0.2) -> ColumnScore:
    return ColumnScore(
        column=column,
        kind="numeric",
        method=method,
        score=1.0,
        threshold=threshold,
        p_value=None,
        drifted=True,
        reason="",
    )


def test_columns_come_in_the_order_of_their_scores_with_the_methods_that_mean_the_same() -> None:
    frame = pl.DataFrame({"at": AT, "a": [1, 2, 3, 4], "b": ["x", "y", "x", "y"], "c": [1.0, 2.0, 3.0, 4.0]})
    scores = [score("c", "wasserstein"), score("a", "kolmogorov_smirnov")]

    _, shown = comparable(frame, frame, columns=["a", "b", "c"], time_column="at", scores=scores)

    assert shown == [
        ShownColumn("c", "numeric", "wasserstein", 0.2),
        ShownColumn("a", "numeric"),
        ShownColumn("b", "categorical"),
    ]


def test_values_are_those_that_the_check_compares() -> None:
    frame = pl.DataFrame(
        {
            "at": AT,
            "born": [moment - timedelta(seconds=90) for moment in AT],
            "took": [timedelta(minutes=1)] * 4,
            "flag": [True, False, None, True],
            "x": [1.0, float("inf"), float("nan"), None],
        }
    )
    (reference, _), shown = comparable(frame, frame, columns=frame.columns[1:], time_column="at")
    assert reference["born"].to_list() == [90.0] * 4
    assert reference["took"].to_list() == [60.0] * 4
    assert reference["flag"].to_list() == ["true", "false", None, "true"]
    assert reference["x"].to_list() == [1.0, None, None, None]
    assert [column.kind for column in shown] == ["numeric", "numeric", "categorical", "numeric"]


def test_what_cannot_be_drawn_is_left_out() -> None:
    reference = pl.DataFrame({"at": AT, "a": [1] * 4, "gone": [1] * 4, "empty": [1] * 4, "other": [1.5] * 4})
    current = pl.DataFrame({"at": AT, "a": [1] * 4, "empty": [None] * 4, "other": ["x"] * 4})
    (_, frame), shown = comparable(
        reference, current, columns=["a", "gone", "empty", "other", "never"], time_column="at"
    )
    assert [column.name for column in shown] == frame.columns == ["a"]


def test_rare_categories_are_shown_as_one() -> None:
    many = pl.DataFrame({"at": AT[:1] * 500, "code": [f"{row // 2}" for row in range(500)]})
    (reference, current), _ = comparable(many, many, columns=["code"], time_column="at")
    for side in (reference, current):
        assert side["code"].n_unique() == MAX_CATEGORIES + 1
        assert (side["code"] == OTHERS).sum() == 500 - 2 * MAX_CATEGORIES


def test_a_new_category_keeps_its_name() -> None:
    reference = pl.DataFrame({"at": AT, "word": ["a", "b", "a", "b"]})
    current = pl.DataFrame({"at": AT, "word": ["a", "new", "new", None]})
    (_, frame), _ = comparable(reference, current, columns=["word"], time_column="at")
    assert frame["word"].to_list() == ["a", "new", "new", None]


async def test_without_anything_to_draw_there_is_no_report() -> None:
    empty = pl.DataFrame({"at": AT, "a": [None] * 4})
    with pytest.raises(ReportFailed, match="no column has values in both windows"):
        await drift_report(empty, empty, columns=["a"], time_column="at")
