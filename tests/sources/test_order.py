import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.sources.order import in_canonical_order
from tests.sources.rows import COLUMNS, a_year

rows = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.none() | st.integers(0, 2),
        st.none() | st.sampled_from([0.5, float("nan"), -1.0]),
        st.none() | st.sampled_from(["a", "b", "ä"]),
    ),
    max_size=30,
)
SCHEMA = {"at": pl.Int64(), "n": pl.Int64(), "x": pl.Float64(), "s": pl.String()}


@given(rows, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_same_rows_come_in_the_same_order_however_they_were_stored(found, random):
    frame = pl.DataFrame(found, schema=SCHEMA, orient="row")
    shuffled = pl.DataFrame(random.sample(found, len(found)), schema=SCHEMA, orient="row")

    assert in_canonical_order(frame, "at", list(SCHEMA)).equals(
        in_canonical_order(shuffled, "at", list(SCHEMA))
    )


def test_rows_are_by_time_and_then_by_the_columns_from_left_to_right():
    frame = pl.DataFrame({"at": [2, 1, 1, 1], "a": [0, 5, 5, None], "b": ["x", "z", "y", "w"]})

    ordered = in_canonical_order(frame, "at", ["b", "a", "at"])

    assert ordered.rows() == [("w", None, 1), ("y", 5, 1), ("z", 5, 1), ("x", 0, 2)]


def test_categories_sort_by_their_text_and_not_by_who_was_read_first():
    seen_first = pl.Series("s", ["b", "a"], dtype=pl.Enum(["b", "a"]))
    frame = pl.DataFrame({"at": [1, 1], "s": seen_first})

    assert in_canonical_order(frame, "at", ["at", "s"])["s"].to_list() == ["a", "b"]


def test_columns_without_an_order_do_not_hinder():
    frame = pl.DataFrame({"at": [2, 1], "tags": [["a"], ["b", "c"]]})

    assert in_canonical_order(frame, "at", ["at", "tags"])["tags"].to_list() == [["b", "c"], ["a"]]


def test_a_time_that_is_not_asked_for_orders_the_rows_all_the_same():
    year = a_year(100)

    ordered = in_canonical_order(year.reverse(), "at", ["amount"])

    assert ordered.columns == ["amount"]
    assert ordered["amount"].equals(year["amount"])


def test_no_rows_stay_no_rows():
    assert in_canonical_order(a_year(8).clear(), "at", COLUMNS).is_empty()
