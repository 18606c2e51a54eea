"""Twenty columns of the kinds that real tables have, every sample drawn anew from the same distributions."""

import numpy as np
import polars as pl

NUMERIC = tuple(f"numeric_{position:02}" for position in range(14))


def mixed_columns(rows: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    """`rows` x 20 columns: 14 numeric, 5 categorical, 1 boolean; some with missing values.

    `shift` moves the first ten columns by so many of their standard deviations; these are numeric.
    """
    random = np.random.default_rng(seed)
    zero_inflated = random.lognormal(3, 1, rows) * (random.random(rows) < 0.3)
    numeric = [
        (random.normal(0, 1, rows), 1.0),
        (random.normal(1e6, 10, rows), 10.0),
        (random.lognormal(0, 1, rows), 2.161),
        (random.exponential(5, rows), 5.0),
        (random.uniform(-1, 1, rows), 0.577),
        (random.beta(0.5, 0.5, rows), 0.354),
        (random.standard_t(4, rows), 1.414),
        (random.gamma(0.5, 2, rows), 1.414),
        (random.poisson(3, rows).astype(float), 1.732),
        (np.where(random.random(rows) < 0.5, random.normal(-3, 1, rows), random.normal(3, 1, rows)), 3.162),
        (zero_inflated, 1.0),
        (random.standard_cauchy(rows), 1.0),
        (random.poisson(0.05, rows).astype(float), 1.0),
        (np.round(random.lognormal(7, 2, rows), -2), 1.0),
    ]
    columns: dict[str, pl.Series] = {}
    for position, (name, (values, deviation)) in enumerate(zip(NUMERIC, numeric, strict=True)):
        columns[name] = pl.Series(name, values + shift * deviation * (position < 10))
    for name, share in ((NUMERIC[2], 0.02), (NUMERIC[6], 0.3)):
        columns[name] = columns[name].scatter(np.flatnonzero(random.random(rows) < share), None)
    for count in (2, 5, 20, 200, 5_000):
        shares = 1 / np.arange(1, count + 1)
        drawn = random.choice(count, rows, p=shares / shares.sum())
        columns[f"categorical_{count}"] = pl.Series(drawn).cast(pl.String)
    columns["boolean"] = pl.Series(random.random(rows) < 0.03)
    return pl.DataFrame(columns)
