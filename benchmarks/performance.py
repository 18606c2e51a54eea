"""False alarms of the performance check: a champion that is as good as ever, judged by the rule as shipped.

python -m benchmarks.performance               1,000 windows for each figure, some minutes
python -m benchmarks.performance --trials 300  fewer

Each trial draws a holdout of 2,000 rows and a labelled window of the same distribution, anew.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from scipy.stats import binom

from benchmarks.ratio import Line, print_lines
from retraining.monitoring.degradation import Baseline, decide_degradation, limit_for
from retraining.monitoring.permutation import ScoredRows, chance_of_drop
from retraining.training.bootstrap import SEED, bootstrap_score, score_once
from retraining.training.metrics import find_metric
from retraining.training.weighted import Vector

HOLDOUT = 2_000
WINDOWS = (50, 500, 5_000)
MAX_DROP = 0.05
RATE = 0.025
"""What the rule promises at most (degradation.py)."""
CHUNK = 50


def binary(random: np.random.Generator, rows: int) -> ScoredRows:
    """Classes by a logistic model, scored by their true probabilities."""
    probability = 1 / (1 + np.exp(-1.5 * random.normal(size=rows)))
    return ScoredRows((random.random(rows) < probability).astype(np.float64), probability)


def rare(random: np.random.Generator, rows: int) -> ScoredRows:
    """As `binary`, one row in ten being of the positive class."""
    probability = 1 / (1 + np.exp(3 - 1.5 * random.normal(size=rows)))
    return ScoredRows((random.random(rows) < probability).astype(np.float64), probability)


def normal(random: np.random.Generator, rows: int) -> ScoredRows:
    """Values with normal errors."""
    expected = random.normal(size=rows)
    return ScoredRows(expected + 0.7 * random.normal(size=rows), expected)


def heavy(random: np.random.Generator, rows: int) -> ScoredRows:
    """Lognormal values, as money is: a few errors are as large as all others together."""
    expected = random.normal(size=rows)
    return ScoredRows(np.exp(expected + 0.7 * random.normal(size=rows)), np.exp(expected))


Draw = Callable[[np.random.Generator, int], ScoredRows]
CASES: Sequence[tuple[str, Draw]] = (
    *((metric, binary) for metric in ("roc_auc", "accuracy", "f1", "log_loss")),
    *((metric, rare) for metric in ("roc_auc", "f1", "log_loss")),
    *((metric, normal) for metric in ("r2", "rmse", "mae")),
    *((metric, heavy) for metric in ("r2", "rmse", "mae")),
)


def breaches(name: str, draw: Draw, rows: int, seed: int) -> bool:
    """Whether the rule fires on a window of `rows` that is like the holdout."""
    metric, random = find_metric(name), np.random.default_rng([seed, rows])
    holdout, window = draw(random, HOLDOUT), draw(random, rows)

    def drawn() -> Vector:
        return bootstrap_score(metric, holdout.labels, holdout.scores, seed=SEED + 1).resamples

    baseline = Baseline(score_once(metric, holdout.labels, holdout.scores), drawn, HOLDOUT)
    limit = limit_for(metric, baseline, threshold=None, allowed_drop=MAX_DROP)
    assert limit is not None
    if metric.improvement(limit, score_once(metric, window.labels, window.scores)) >= 0:
        return False  # within the limit, where the rule asks for nothing else
    current = bootstrap_score(metric, window.labels, window.scores)
    if not np.isfinite([current.estimate, current.interval.low, current.interval.high]).all():
        return False  # a check without a verdict
    return decide_degradation(
        metric,
        current,
        limit=limit,
        baseline=baseline,
        labels=rows,
        chance=partial(chance_of_drop, metric, holdout, window),
    ).breached


def count_breaches(name: str, draw: Draw, rows: int, seeds: range) -> int:
    """How many of the trials fire."""
    return sum(breaches(name, draw, rows, seed) for seed in seeds)


def lines(arguments: Sequence[str] = ()) -> Iterator[Line]:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000)
    trials = parser.parse_args(arguments).trials
    seeds = [range(start, min(start + CHUNK, trials)) for start in range(0, trials, CHUNK)]
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        counting = {
            case: [[pool.submit(count_breaches, *case, rows, chunk) for chunk in seeds] for rows in WINDOWS]
            for case in CASES
        }
        for (name, draw), each in counting.items():
            fired = [sum(chunk.result() for chunk in chunks) for chunks in each]
            yield Line(
                f"false alarms of {name} ({draw.__name__}), windows of "
                + ", ".join(f"{rows:,}" for rows in WINDOWS),
                f"{', '.join(f'{count / trials:.1%}' for count in fired)} of {trials:,}",
                f"<= {RATE:.1%}, but for chance",
                # Within sampling error: so many come by chance in one of a thousand counts, and there are 39.
                kept=all(bool(binom.sf(count - 1, trials, RATE) > 0.001) for count in fired),
            )


if __name__ == "__main__":
    print_lines(lines(sys.argv[1:]))
