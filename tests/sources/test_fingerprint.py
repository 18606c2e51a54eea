import os
import random
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retraining.sources import ParquetSource, Window
from retraining.sources.fingerprint import fingerprint
from tests.sources.rows import COLUMNS, a_year, utc

EVERY_TYPE: dict[str, tuple[pl.DataType, Any, Any]] = {
    "bool": (pl.Boolean(), True, False),
    "int8": (pl.Int8(), -1, 0),
    "int64": (pl.Int64(), 2**62, 2**62 + 1),
    "uint32": (pl.UInt32(), 7, 8),
    "int128": (pl.Int128(), 2**80, 2**80 + 1),
    "float32": (pl.Float32(), 0.1, 0.2),
    "float64": (pl.Float64(), 0.1, 0.1 + 2**-56),
    "string": (pl.String(), "ä", "a"),
    "categorical": (pl.Categorical(), "a", "b"),
    "enum": (pl.Enum(["a", "b"]), "a", "b"),
    "binary": (pl.Binary(), b"\x00", b""),
    "date": (pl.Date(), date(2024, 1, 1), date(2024, 1, 2)),
    "datetime": (pl.Datetime("us", "UTC"), utc(2024, 1, 1), utc(2024, 1, 1) + timedelta(microseconds=1)),
    "naive": (pl.Datetime("ms"), datetime(2024, 1, 1), datetime(2024, 1, 2)),
    "duration": (pl.Duration("us"), timedelta(1), timedelta(2)),
    "time": (pl.Time(), time(1), time(2)),
    "decimal": (pl.Decimal(10, 2), Decimal("1.50"), Decimal("1.51")),
}


def content_hash(frame: pl.DataFrame) -> str:
    return fingerprint(frame, "at").content_hash


def with_column(name: str, values: list[Any], dtype: pl.DataType) -> pl.DataFrame:
    at = pl.Series("at", [utc(2024, 1, 1)] * len(values), dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame([at, pl.Series(name, values, dtype=dtype)])


def test_rows_and_their_span_of_time_are_told():
    found = fingerprint(a_year(), "at")

    assert found.rows == 8_784
    assert (found.start, found.end) == (utc(2024, 1, 1), utc(2024, 12, 31, 23))
    assert len(found.content_hash) == 64


@pytest.mark.parametrize(
    ("dtype", "value", "moment"),
    [
        (pl.Date(), date(2024, 7, 1), utc(2024, 7, 1)),
        (pl.Datetime("ms"), datetime(2024, 7, 1, 12), utc(2024, 7, 1, 12)),
        (pl.Datetime("us", "Europe/Berlin"), utc(2024, 7, 1, 12), utc(2024, 7, 1, 12)),
    ],
)
def test_the_span_is_utc_whatever_the_times_are(dtype: pl.DataType, value: object, moment: datetime):
    frame = pl.DataFrame({"at": pl.Series([value])}).with_columns(
        pl.col("at").dt.convert_time_zone("Europe/Berlin")
        if "Berlin" in str(dtype)
        else pl.col("at").cast(dtype)
    )

    found = fingerprint(frame, "at")

    assert (found.start, found.end) == (moment, moment)
    assert found.start.tzinfo is UTC


def test_the_hash_is_the_one_that_version_1_defines():
    """Worked out by hand from the module's definition: it may never change with polars or the code."""
    import hashlib
    import struct

    def sha(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    def header(name: str, kind: str) -> bytes:
        return struct.pack("<Q", len(name)) + name.encode() + kind.encode() + b"\0"

    frame = pl.DataFrame(
        {"at": [date(1970, 1, 2), date(1970, 1, 3), None], "x": [1.5, None, -0.0], "s": ["ä", None, "bc"]}
    )
    expected = sha(
        b"retraining.fingerprint.1\0"
        + struct.pack("<QQ", 3, 3)
        + header("at", "date")
        + sha(b"\xc0")
        + sha(struct.pack("<iii", 1, 2, 0))
        + sha(b"")
        + header("x", "float64")
        + sha(b"\xa0")
        + sha(struct.pack("<ddd", 1.5, 0.0, 0.0))
        + sha(b"")
        + header("s", "string")
        + sha(b"\xa0")
        + sha("äbc".encode())
        + sha(struct.pack("<QQQ", 2, 0, 2))
    )

    assert content_hash(frame) == expected.hex()


def test_the_hash_is_the_same_in_another_process():
    """Neither the seed of Python's hashes nor the number of threads shows in it."""
    script = "from tests.sources.test_fingerprint import *; print(content_hash(a_year()))"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "POLARS_MAX_THREADS": "1"}

    found = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert found.stdout.strip() == content_hash(a_year())


cuts = st.lists(st.integers(0, 300), max_size=8)


@given(cuts)
@settings(max_examples=50, deadline=None)
def test_chunks_leave_no_trace(cuts: list[int]):
    frame = a_year(300)
    edges = [0, *sorted(cuts), 300]
    pieces = [frame.slice(start, end - start) for start, end in pairwise(edges)]

    assert content_hash(pl.concat(pieces, rechunk=False)) == content_hash(frame)


def test_slices_leave_no_trace():
    """More rows than are hashed at once, cut where no slice of the hash ends."""
    frame = a_year(300_000).select("at", "amount", "channel", "returned")
    cut = pl.concat([frame.head(131_071), frame.slice(131_071)], rechunk=False)

    assert content_hash(cut) == content_hash(frame.rechunk())


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_files_and_row_groups_leave_no_trace(files: int, row_group: int, seed: int):
    """However rows are dealt out to files, the source brings them back in one order."""
    import tempfile

    frame = a_year(120).with_columns(pl.col("at").dt.truncate("1d"))
    whole = frame.sort(COLUMNS)
    deal = random.Random(seed)
    file_of_row = pl.Series([deal.randrange(files) for _ in range(frame.height)])
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            part = frame.filter(file_of_row == number)
            if not part.is_empty():
                part.write_parquet(Path(folder) / f"{number:02}.parquet", row_group_size=row_group)
        found = ParquetSource(folder).read(Window(None, utc(2025, 1, 1)), time_column="at", columns=COLUMNS)

    assert content_hash(found) == content_hash(whole)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_changed_value_shows(data: st.DataObject):
    name, (dtype, value, other) = data.draw(st.sampled_from(sorted(EVERY_TYPE.items())), "type")
    values = data.draw(st.lists(st.sampled_from([value, other, None]), min_size=1, max_size=20), "values")
    place = data.draw(st.integers(0, len(values) - 1), "place")
    change = data.draw(
        st.sampled_from([new for new in (value, other, None) if new is not values[place]]), "change"
    )

    changed = [*values[:place], change, *values[place + 1 :]]

    assert content_hash(with_column(name, values, dtype)) != content_hash(with_column(name, changed, dtype))
    assert content_hash(with_column(name, values, dtype)) == content_hash(
        with_column(name, list(values), dtype)
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["", None], [None, ""]),
        (["a", ""], ["", "a"]),
        ([b"ab", b"c"], [b"a", b"bc"]),
        ([0, None], [None, 0]),
        ([0.0, None], [None, 0.0]),
        ([False, None], [None, False]),
        ([1, 2], [2, 1]),
    ],
)
def test_what_only_looks_alike_in_bytes_is_told_apart(one: list[Any], other: list[Any]):
    dtype = pl.Series(one).dtype

    assert content_hash(with_column("x", one, dtype)) != content_hash(with_column("x", other, dtype))


def test_names_types_and_the_order_of_columns_show():
    frame = a_year(10)
    variants = [
        frame,
        frame.rename({"items": "pieces"}),
        frame.with_columns(pl.col("items").cast(pl.Int32)),
        frame.with_columns(pl.col("at").dt.cast_time_unit("ms")),
        frame.select(reversed(frame.columns)),
        frame.drop("items"),
        frame.head(9),
    ]

    assert len({content_hash(variant) for variant in variants}) == len(variants)


def test_how_text_is_encoded_does_not_show():
    """A dictionary in a file, a category in memory: the same text."""
    text = a_year(100)

    for dtype in (pl.Categorical(), pl.Enum(["web", "phone", "shop"])):
        assert content_hash(text.with_columns(pl.col("channel").cast(dtype))) == content_hash(text)


def test_equal_floats_are_equal():
    signed, plain = ([0.0, float("nan")], [-0.0, -float("nan")])

    for dtype in (pl.Float32(), pl.Float64()):
        assert content_hash(with_column("x", signed, dtype)) == content_hash(with_column("x", plain, dtype))


@pytest.mark.parametrize("values", [[[1]], [{"a": 1}]])
def test_a_column_without_one_form_in_bytes_is_refused_by_name(values: list[Any]):
    with pytest.raises(TypeError, match=r"column tags is .*, of which there is no fingerprint"):
        content_hash(with_column("tags", values, pl.Series(values).dtype))


def test_no_rows_have_no_fingerprint():
    with pytest.raises(ValueError, match="without times"):
        fingerprint(a_year(10).clear(), "at")
