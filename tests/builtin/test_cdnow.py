import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path

import polars as pl
import pytest

from retraining import DataSource, Window
from retraining.builtin.cdnow import FEATURES, LABEL_DELAY, CdnowSnapshots
from retraining.errors import MissingColumns, WrongColumnType
from tests.builtin.jobs import at

EVERYTHING = ("snapshot_at", "customer_id", *FEATURES, "churned", "spend_next_90d")


def read(
    start: datetime | None, end: datetime, columns: tuple[str, ...] = EVERYTHING, newest: int | None = None
) -> pl.DataFrame:
    source = CdnowSnapshots(newest=newest)
    return source.read(Window(start, end), time_column="snapshot_at", columns=columns)


def snapshots(frame: pl.DataFrame) -> list[datetime]:
    return frame["snapshot_at"].unique().sort().to_list()


@pytest.fixture(scope="module")
def purchases() -> pl.DataFrame:
    with (resources.files("retraining.builtin") / "data" / "cdnow_purchases.parquet").open("rb") as file:
        return pl.read_parquet(file)


def test_it_is_a_data_source_and_says_where_the_data_is_from() -> None:
    assert isinstance(CdnowSnapshots(), DataSource)
    assert CdnowSnapshots().describe() == "CDNOW purchases (packaged with retraining)"


@pytest.mark.parametrize("customer", [1, 4, 30, 9_999, 23_570])
def test_a_row_is_what_a_reader_would_count_by_hand(purchases: pl.DataFrame, customer: int) -> None:
    """All features and labels of one customer on 1998-01-01, from the purchases themselves."""
    day = datetime(1998, 1, 1)  # the packaged purchases carry days without a zone
    own = purchases.filter(pl.col("customer_id") == customer)
    before = [row for row in own.iter_rows(named=True) if row["purchased_on"] < day]
    after = [
        row for row in own.iter_rows(named=True) if day <= row["purchased_on"] < day + timedelta(days=90)
    ]
    ages = [(day - row["purchased_on"]).days for row in before]
    amounts = [row["amount"] for row in before]
    expected = {
        "snapshot_at": at(1998, 1),
        "customer_id": customer,
        "orders": len(before),
        "cds": sum(row["cds"] for row in before),
        "spend": pytest.approx(sum(amounts)),
        "average_order": pytest.approx(sum(amounts) / len(before)),
        "maximum_order": max(amounts),
        "recency_days": min(ages),
        "tenure_days": max(ages),
        "orders_30d": sum(age <= 30 for age in ages),
        "orders_90d": sum(age <= 90 for age in ages),
        "spend_30d": pytest.approx(sum(a for a, age in zip(amounts, ages, strict=True) if age <= 30)),
        "spend_90d": pytest.approx(sum(a for a, age in zip(amounts, ages, strict=True) if age <= 90)),
        "active_days": len({row["purchased_on"] for row in before}),
        "churned": not after,
        "spend_next_90d": pytest.approx(sum(row["amount"] for row in after)),
    }
    frame = read(None, at(1998, 1), newest=1).filter(pl.col("customer_id") == customer)
    assert frame.to_dicts() == [expected]


def test_features_know_nothing_of_the_day_of_the_snapshot_or_later(purchases: pl.DataFrame) -> None:
    """No customer who first bought on or after the snapshot is in it."""
    frame = read(None, at(1997, 3), newest=1)
    first = purchases.group_by("customer_id").agg(pl.col("purchased_on").min())
    known = first.filter(pl.col("purchased_on") < datetime(1997, 3, 1))["customer_id"]
    assert frame["customer_id"].to_list() == known.sort().to_list()
    assert frame["recency_days"].min() == 1


@pytest.mark.parametrize(
    ("as_of", "trains_on"),
    [
        (at(2026, 1), at(1998, 4)),
        (at(1998, 7), at(1998, 4)),
        (at(1998, 4), at(1998, 1)),
        (at(1998, 3, 31), at(1997, 12)),
        (at(1997, 7), at(1997, 4)),
        (at(1997, 5, 15), at(1997, 2)),
    ],
)
def test_the_newest_snapshot_is_the_last_whose_labels_are_complete(
    as_of: datetime, trains_on: datetime
) -> None:
    frame = read(None, as_of - LABEL_DELAY, newest=1)
    assert snapshots(frame) == [trains_on]
    assert frame["churned"].null_count() == frame["spend_next_90d"].null_count() == 0


def test_a_window_before_the_first_snapshot_is_empty_and_keeps_its_columns() -> None:
    frame = read(None, at(1997, 1, 31))
    assert frame.height == 0
    assert frame.columns == list(EVERYTHING)
    assert frame.schema == read(None, at(1997, 2)).schema


def test_the_start_of_a_window_is_outside_and_its_end_inside() -> None:
    assert snapshots(read(at(1997, 4), at(1997, 6))) == [at(1997, 5), at(1997, 6)]


def test_several_newest_snapshots_can_be_kept() -> None:
    assert snapshots(read(None, at(1998, 7), newest=2)) == [at(1998, 3), at(1998, 4)]


def test_labels_are_null_until_their_ninety_days_are_known() -> None:
    frame = read(at(1998, 3), at(1998, 7))
    unknown = frame.filter(pl.col("churned").is_null())
    assert snapshots(frame.filter(pl.col("churned").is_not_null())) == [at(1998, 4)]
    assert snapshots(unknown) == [at(1998, 5), at(1998, 6), at(1998, 7)]
    assert unknown["spend_next_90d"].null_count() == unknown.height


def test_a_read_without_labels_has_every_snapshot_of_the_window() -> None:
    """What a drift check reads: today's customers, whose labels nobody knows yet."""
    frame = read(at(1998, 3), at(2026, 1), columns=("snapshot_at", *FEATURES), newest=1)
    assert snapshots(frame) == [at(1998, 4), at(1998, 5), at(1998, 6), at(1998, 7)]


def test_rows_come_in_the_order_of_time_and_customer() -> None:
    frame = read(None, at(1997, 4))
    assert frame.equals(frame.sort("snapshot_at", "customer_id"))
    assert frame.equals(read(None, at(1997, 4)))


def test_columns_come_as_asked() -> None:
    assert read(None, at(1998, 1), columns=("spend", "customer_id")).columns == ["spend", "customer_id"]


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(
        MissingColumns, match="missing column colour; the source has snapshot_at, customer_id, "
    ):
        read(None, at(1998, 1), columns=("colour",))


def test_only_the_snapshot_is_a_time() -> None:
    with pytest.raises(WrongColumnType, match="column orders is not a time, needs to be snapshot_at"):
        CdnowSnapshots().read(Window(None, at(1998, 1)), time_column="orders", columns=["orders"])


def test_newest_is_a_number_of_snapshots() -> None:
    with pytest.raises(ValueError, match="from 1 on, not 0"):
        CdnowSnapshots(newest=0)


def test_the_wheel_has_the_data_its_origin_and_its_licence(tmp_path: Path) -> None:
    project = Path(__file__).parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for name in ("cdnow_purchases.parquet", "README.md", "LICENSE.txt"):
        assert f"retraining/builtin/data/{name}" in names
