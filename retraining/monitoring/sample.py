"""Samples of rows for people to look at: at most 20,000, however many there are."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from retraining.drift.batches import ROWS_PER_BATCH
from retraining.sources.lazy import LazyRows

SAMPLE_ROWS = 20_000
_SEED = 0
_KEY = "\0key"  # no column is called so


def sample_rows(rows: LazyRows, columns: Sequence[str]) -> pl.DataFrame:
    """At most 20,000 of the rows, those with the smallest random keys; of `columns` those that there are.

    The same rows give the same sample. Memory does not grow with them.
    """
    random = np.random.default_rng(_SEED)
    taken: pl.DataFrame | None = None
    for part in rows.parts:
        scan = part.lazy()
        wanted = [name for name in columns if name in scan.collect_schema()]
        height = part.height if isinstance(part, pl.DataFrame) else scan.select(pl.len()).collect().item()
        for start in range(0, max(height, 1), ROWS_PER_BATCH):
            piece = scan.slice(start, ROWS_PER_BATCH)
            batch = (piece if rows.where is None else piece.filter(rows.where)).select(wanted).collect()
            keyed = batch.with_columns(pl.Series(_KEY, random.random(batch.height), pl.Float64))
            taken = keyed if taken is None else pl.concat([taken, keyed], how="vertical_relaxed")
            if taken.height > SAMPLE_ROWS:
                taken = taken.bottom_k(SAMPLE_ROWS, by=_KEY)
    return pl.DataFrame() if taken is None else taken.drop(_KEY)
