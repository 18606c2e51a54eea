"""A model whose data moves away on the 20th day, and one whose data stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from sklearn.linear_model import LinearRegression

from retraining.catalog.policy import EntityHoldout
from retraining.catalog.spec import ModelSpec
from retraining.sources.window import Window

DAY = datetime(2026, 1, 1, tzinfo=UTC)
MOVES_AT = DAY + timedelta(days=20)


@dataclass(frozen=True)
class Orders:
    """A hundred orders a day for forty days; from `moves_at` on they are larger and come by other ways."""

    moves_at: datetime | None = None

    def read(self, window: Window, *, time_column: str, columns: Sequence[str]) -> pl.DataFrame:
        count = 4_000
        rng = np.random.default_rng(7)
        at = [DAY + timedelta(minutes=14.4 * row) for row in range(count)]
        moved = np.array([self.moves_at is not None and moment > self.moves_at for moment in at])
        amount = rng.normal(100, 20, count) + 40 * moved
        way = np.where(rng.random(count) < np.where(moved, 0.8, 0.2), "web", "shop")
        orders = pl.DataFrame(
            {
                "at": at,
                "order": range(count),
                "amount": amount,
                "way": way,
                "quiet": rng.random(count),
                "paid": amount * 2 + rng.normal(size=count),
            }
        )
        inside = pl.col("at") <= window.end
        if window.start is not None:
            inside &= pl.col("at") > window.start
        return orders.filter(inside).select(columns)

    def describe(self) -> str:
        return "orders"


def _spec(name: str, source: Orders) -> ModelSpec:
    return ModelSpec(
        name=name,
        task="regression",
        source=source,
        label="paid",
        features=("amount", "way", "quiet"),
        time_column="at",
        holdout=EntityHoldout(column="order"),
        train=lambda given: LinearRegression().fit(given.features[["amount"]], given.labels),
        metric="mae",
        min_rows=100,
    )


moving = _spec("moving", Orders(MOVES_AT))
staying = _spec("staying", Orders())
