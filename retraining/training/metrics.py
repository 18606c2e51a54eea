"""The metrics by which versions are compared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
"""(rows,) probabilities of the positive class (binary) or values (regression); (rows, classes) probabilities
(multiclass), columns in the sorted order of the classes."""
Labels = npt.NDArray[np.float64]
"""(rows,) 0 or 1 (binary), class index (multiclass) or value (regression)."""


@dataclass(frozen=True)
class Metric:
    """A named score of predictions against labels, and which way is better."""

    name: str
    direction: Literal["maximize", "minimize"]
    tasks: tuple[Literal["binary", "multiclass", "regression"], ...]
    compute: Callable[[Labels, Scores], float]
    per_row: Callable[[Labels, Scores], npt.NDArray[np.float64]] | None = None
    """(rows,) losses whose mean is the metric, where there is such a thing: makes resampling cheap."""

    def improvement(self, champion: float, challenger: float) -> float:
        """How much better the challenger is, in the metric's unit; negative if it is worse."""
        return challenger - champion if self.direction == "maximize" else champion - challenger


def find_metric(metric: str | Metric) -> Metric:
    """The metric of this name; a metric passes through.

    Raises:
        ValueError: for a name that is not in the table, listing the names that are.
    """
    raise NotImplementedError
