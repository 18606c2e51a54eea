"""Could the same drop come of dealing the same rows out at random?

Bootstrap intervals are too narrow where a few rows decide, as the largest errors decide an rmse, and then a
champion that is as good as ever would breach too often. A permutation test has no such weakness: as long as
nothing has changed, the holdout's rows and today's are exchangeable, so that shuffling which is which says
exactly how often chance makes a drop as large (R. A. Fisher, The Design of Experiments (1935); P. Good,
Permutation Tests (2000), ch. 3). Entities are shuffled whole.
"""

from dataclasses import dataclass

import numpy as np

from retraining.training.bootstrap import SEED, Codes, score_once, some_rows, weighted_scores
from retraining.training.metrics import Labels, Metric, Scores
from retraining.training.weighted import Vector, Weights

SHUFFLES = 400
MAX_ROWS = 10_000
"""Of either side at most, drawn at random: as many show every drop that is worth a job."""
_BATCH_CELLS = 400_000


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """Labels and scores of some rows, and which entity each is of if they are not independent."""

    labels: Labels
    scores: Scores
    entities: Codes | None = None

    def at_most(self, rows: int, rng: np.random.Generator) -> "ScoredRows":
        """These rows, or a random part of them."""
        kept = some_rows(len(self.labels), self.entities, rng, rows)
        entities = None if self.entities is None else self.entities[kept]
        return ScoredRows(self.labels[kept], self.scores[kept], entities)


def chance_of_drop(
    metric: Metric, before: ScoredRows, after: ScoredRows, *, shuffles: int = SHUFFLES, seed: int = SEED
) -> float:
    """The chance, from 0 to 1, of a drop as large as that from `before` to `after` if nothing has changed."""
    rng = np.random.default_rng(seed)
    before, after = before.at_most(MAX_ROWS, rng), after.at_most(MAX_ROWS, rng)
    found = metric.improvement(
        score_once(metric, before.labels, before.scores), score_once(metric, after.labels, after.scores)
    )
    labels = np.concatenate([before.labels, after.labels])
    scores = _stacked(before.scores, after.scores)
    first, second = _units(before), _units(after)
    units = np.concatenate([first, second + first.max() + 1])
    is_after = np.arange(units.max() + 1) > first.max()

    batch = max(1, _BATCH_CELLS // len(labels))
    changes = []
    for start in range(0, shuffles, batch):
        dealt = np.tile(is_after, (min(batch, shuffles - start), 1))
        weights = rng.permuted(dealt, axis=1)[:, units].astype(np.float64)
        now, then = (_values(metric, labels, scores, part) for part in (weights, 1 - weights))
        changes.append(now - then if metric.direction == "maximize" else then - now)
    change = np.concatenate(changes)
    change = change[np.isfinite(change)]
    # The rows as they are found count as one of the shuffles, so that no chance is ever zero.
    return float((1 + (change <= found + 1e-12).sum()) / (1 + len(change)))


def _values(metric: Metric, labels: Labels, scores: Scores, weights: Weights) -> Vector:
    if metric.per_row is not None:
        return np.asarray(weights @ metric.per_row(labels, scores) / weights.sum(axis=1))
    return weighted_scores(metric, labels, scores, weights)


def _stacked(before: Scores, after: Scores) -> Scores:
    """Both scores; classes that only one side has count as impossible on the other."""
    if before.ndim == 1:
        return np.concatenate([before, after])
    width = max(before.shape[1], after.shape[1])
    return np.vstack([np.pad(side, ((0, 0), (0, width - side.shape[1]))) for side in (before, after)])


def _units(rows: ScoredRows) -> Codes:
    if rows.entities is None:
        return np.arange(len(rows.labels))
    return np.unique(rows.entities, return_inverse=True)[1].astype(np.intp)
