"""Two scans merged are the scan of both."""

import numpy as np
import polars as pl
import pytest

from retraining.drift.merging import merge_scans
from retraining.drift.profile import build_profile
from retraining.drift.scan import Retyped, Vanished, scan_window
from tests.drift.windows import plain

RANDOM = np.random.default_rng(5)
REFERENCE = pl.DataFrame(
    {
        "number": RANDOM.normal(1e6, 3, 3_000),
        "count": RANDOM.poisson(3, 3_000),
        "word": RANDOM.choice(["a", "b", "c"], 3_000),
        "flag": RANDOM.random(3_000) < 0.2,
    }
)
CURRENT = REFERENCE.with_columns(
    number=pl.when(pl.int_range(pl.len()) % 7 > 0).then(pl.col("number") + 1),
    word=pl.when(pl.int_range(pl.len()) % 5 > 0).then("word").otherwise(pl.lit("new")),
)
PROFILE = build_profile(REFERENCE, REFERENCE.columns)


@pytest.mark.parametrize("cut", [0, 1, 1_000, 2_999, 3_000])
def test_the_parts_together_are_the_whole(cut: int) -> None:
    merged = merge_scans(scan_window(PROFILE, CURRENT[:cut]), scan_window(PROFILE, CURRENT[cut:]))
    whole = scan_window(PROFILE, CURRENT)
    assert merged.rows == whole.rows
    assert plain(merged.columns) == plain(whole.columns)


def test_parts_without_values_say_nothing_of_the_others() -> None:
    empty = CURRENT.with_columns(number=pl.lit(None, pl.Float64))
    merged = merge_scans(scan_window(PROFILE, empty[:10]), scan_window(PROFILE, CURRENT[10:]))
    whole = scan_window(PROFILE, pl.concat([empty[:10], CURRENT[10:]]))
    assert plain(merged.columns) == plain(whole.columns)


def test_a_column_that_one_part_lacks_is_missing_there() -> None:
    merged = merge_scans(
        scan_window(PROFILE, CURRENT[:1_000]), scan_window(PROFILE, CURRENT[1_000:].drop("word", "number"))
    )
    expected = pl.concat(
        [
            CURRENT[:1_000],
            CURRENT[1_000:].with_columns(word=pl.lit(None, pl.String), number=pl.lit(None, pl.Float64)),
        ]
    )
    assert plain(merged.columns) == plain(scan_window(PROFILE, expected).columns)


def test_what_both_lack_has_vanished_and_a_change_of_type_stays_one() -> None:
    first = scan_window(PROFILE, CURRENT[:1_000].drop("word"))
    second = scan_window(PROFILE, CURRENT[1_000:].drop("word").with_columns(number=pl.lit("?")))
    merged = merge_scans(first, second)
    assert merged.columns["word"] == Vanished()
    assert merged.columns["number"] == Retyped("String")
