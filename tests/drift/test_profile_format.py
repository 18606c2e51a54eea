import gzip
import json

import numpy as np
import polars as pl
import pytest

from retraining.drift.profile import ReferenceProfile, build_profile
from retraining.drift.profile_format import dump_profile, load_profile
from retraining.drift.scan import scan_window
from retraining.drift.verdict import check_drift
from retraining.errors import InvalidDriftProfile
from tests.drift.samples import mixed_columns


@pytest.fixture(scope="module")
def profile() -> ReferenceProfile:
    frame = mixed_columns(2_000, seed=1).with_columns(
        nothing=pl.lit(None, pl.Float64), empty=pl.lit(None, pl.String)
    )
    return build_profile(frame, frame.columns)


def test_a_loaded_profile_gives_the_same_verdict(profile: ReferenceProfile) -> None:
    window = mixed_columns(1_000, seed=2, shift=0.3).with_columns(nothing=pl.lit(1.0), empty=pl.lit("a"))
    loaded = load_profile(dump_profile(profile))
    assert check_drift(loaded, scan_window(loaded, window)) == check_drift(
        profile, scan_window(profile, window)
    )
    assert dump_profile(loaded) == dump_profile(profile)


def test_a_profile_is_small() -> None:
    """15 numeric and 5 categorical columns of 200,000 rows, in less than 100 kB."""
    random = np.random.default_rng(1)
    frame = pl.DataFrame({f"n{i}": random.lognormal(0, 1 + i / 10, 200_000) for i in range(15)})
    frame = frame.with_columns(
        pl.Series(f"c{i}", random.integers(0, 100, 200_000)).cast(pl.String) for i in range(5)
    )
    assert len(dump_profile(build_profile(frame, frame.columns))) < 100_000


def altered(profile: ReferenceProfile, column: str, **fields: object) -> bytes:
    document = json.loads(gzip.decompress(dump_profile(profile)))
    if column:
        document["columns"][column] |= fields
    else:
        document |= fields
    return gzip.compress(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("column", "fields", "problem"),
    [
        ("", {"version": 2}, "its version is 2, this is version 1"),
        ("", {"rows": 0}, "rows: Input should be greater than 0"),
        ("", {"rows": 2_001}, "column numeric_00 has 2000 rows, the reference 2001"),
        ("numeric_00", {"counts": [2_000]}, "not as many cells as counts"),
        ("numeric_00", {"steps": [5, 0], "counts": [1_000, 1_000]}, "do not ascend"),
        ("numeric_00", {"steps": [10**9], "counts": [2_000]}, "beyond the last"),
        ("numeric_00", {"scale": 0}, "scale: Input should be greater than 0"),
        ("numeric_00", {"mean": None}, "come with values"),
        ("numeric_08", {"values": [2, 1]}, "values do not ascend"),
        ("numeric_00", {"colour": 1}, "colour: Extra inputs"),
        ("categorical_5", {"counts": [1]}, "not as many categories"),
        ("categorical_5", {"distinct": 1}, "more categories than distinct"),
        ("categorical_5", {"type": "text"}, "columns.categorical_5"),
    ],
)
def test_a_profile_that_does_not_fit_together_is_refused(profile, column, fields, problem) -> None:
    with pytest.raises(InvalidDriftProfile, match=problem):
        load_profile(altered(profile, column, **fields))


def test_damaged_bytes_are_refused(profile: ReferenceProfile) -> None:
    content = dump_profile(profile)
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 0xFF
    for bad in (b"", b"profile", content[:-20], bytes(damaged), gzip.compress(b"[]"), gzip.compress(b"\xff")):
        with pytest.raises(InvalidDriftProfile, match="retrain the model"):
            load_profile(bad)
