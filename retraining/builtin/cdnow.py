"""The data of the built-in models: monthly snapshots of CDNOW's customers, from the packaged purchases."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources

import polars as pl

from retraining.errors import MissingColumns, UnreadableSource, WrongColumnType
from retraining.sources.window import Window

TIME_COLUMN = "snapshot_at"
ENTITY_COLUMN = "customer_id"
CHURNED = "churned"
SPEND_NEXT = "spend_next_90d"
LABEL_DELAY = timedelta(days=90)
FEATURES = (
    "orders",
    "cds",
    "spend",
    "average_order",
    "maximum_order",
    "recency_days",
    "tenure_days",
    "orders_30d",
    "orders_90d",
    "spend_30d",
    "spend_90d",
    "active_days",
)

_LABELS = (CHURNED, SPEND_NEXT)
_COLUMNS = (TIME_COLUMN, ENTITY_COLUMN, *FEATURES, *_LABELS)
_KNOWN_UNTIL = datetime(1998, 7, 1, tzinfo=UTC)
"""Purchases are known up to, and not at, this moment."""
_SNAPSHOTS = tuple(datetime(1997 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(1, 19))
"""The first of each month from 1997-02 (the first purchases are of January) to 1998-07."""


@dataclass(frozen=True)
class CdnowSnapshots:
    """One row per customer and first of month T, 00:00 UTC, for who bought before T.

    Columns: `snapshot_at`, `customer_id`; twelve features of the purchases before T (dollars, days, counts);
    and the labels of the 90 days from T on: `churned` (no purchase) and `spend_next_90d` (dollars). Labels
    are null where the purchases of those 90 days are not all known, and so are they for the snapshots from
    1998-05 on.

    `newest` is how many snapshots a read that includes a label keeps: the newest ones in the window whose
    labels are known. A read without a label, as drift checks make, has every snapshot of the window.
    """

    newest: int | None = None

    def __post_init__(self) -> None:
        if self.newest is not None and self.newest < 1:
            raise ValueError(f"newest is a number of snapshots from 1 on, not {self.newest}")

    def describe(self) -> str:
        """What people call this source."""
        return "CDNOW purchases (packaged with retraining)"

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        """The snapshots in the window, rows by time and customer; see `DataSource.read`."""
        missing = [name for name in dict.fromkeys([time_column, *columns]) if name not in _COLUMNS]
        if missing:
            raise MissingColumns(self.describe(), missing, _COLUMNS)
        if time_column != TIME_COLUMN:
            raise WrongColumnType(self.describe(), time_column, "not a time", f"to be {TIME_COLUMN}")
        moments = [
            at for at in _SNAPSHOTS if (window.start is None or window.start < at) and at <= window.end
        ]
        if self.newest is not None and set(columns) & set(_LABELS):
            moments = [at for at in moments if _labels_known(at)][-self.newest :]
        purchases = self._purchases()
        snapshots = [_snapshot(purchases, at) for at in moments] or [
            _snapshot(purchases, _SNAPSHOTS[0]).clear()
        ]
        return pl.concat(snapshots).select(columns)

    def _purchases(self) -> pl.DataFrame:
        packaged = resources.files("retraining.builtin") / "data" / "cdnow_purchases.parquet"
        try:
            with packaged.open("rb") as file:
                return pl.read_parquet(file)
        except (OSError, pl.exceptions.PolarsError) as exc:
            raise UnreadableSource(self.describe(), f"{exc}; install retraining again") from exc


def _labels_known(at: datetime) -> bool:
    return at + LABEL_DELAY <= _KNOWN_UNTIL


def _snapshot(purchases: pl.DataFrame, at: datetime) -> pl.DataFrame:
    day = at.replace(tzinfo=None)
    bought, amount = pl.col("purchased_on"), pl.col("amount")
    age = (pl.lit(day) - bought).dt.total_days()
    # Sums are rounded to cents: the order in which threads add them must not show in a fingerprint.
    features = (
        purchases.filter(bought < day)
        .group_by(ENTITY_COLUMN)
        .agg(
            orders=pl.len().cast(pl.Int64),
            cds=pl.col("cds").sum().cast(pl.Int64),
            spend=amount.sum().round(2),
            maximum_order=amount.max(),
            recency_days=age.min(),
            tenure_days=age.max(),
            orders_30d=(age <= 30).sum().cast(pl.Int64),
            orders_90d=(age <= 90).sum().cast(pl.Int64),
            spend_30d=amount.filter(age <= 30).sum().round(2),
            spend_90d=amount.filter(age <= 90).sum().round(2),
            active_days=bought.n_unique().cast(pl.Int64),
        )
        .with_columns(average_order=pl.col("spend") / pl.col("orders"))
    )
    spent = (
        purchases.filter(bought.is_between(day, day + LABEL_DELAY, closed="left"))
        .group_by(ENTITY_COLUMN)
        .agg(spent=amount.sum().round(2))
    )
    labels = {CHURNED: pl.col("spent").is_null(), SPEND_NEXT: pl.col("spent").fill_null(0.0)}
    if not _labels_known(at):
        labels = {CHURNED: pl.lit(None, pl.Boolean), SPEND_NEXT: pl.lit(None, pl.Float64)}
    return (
        features.join(spent, on=ENTITY_COLUMN, how="left")
        .with_columns(pl.lit(at).cast(pl.Datetime("us", "UTC")).alias(TIME_COLUMN), **labels)
        .sort(ENTITY_COLUMN)
        .select(_COLUMNS)
    )
