"""Where a value is counted: cells of a number line, or categories.

The cells follow the log-linear layout of HdrHistogram (Tene, hdrhistogram.org): around the reference's median
they are all equally wide, and from one `scale` away they double in width with every doubling of the distance.
So they are fine where the data is, whatever its unit, reach to 10^12 scales out, and a value's cell
follows from the bits of a floating point number, with neither a search nor a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BITS_PER_DOUBLING = 9
DOUBLINGS = 40
CELLS_PER_SIDE = DOUBLINGS << BITS_PER_DOUBLING
CELLS = 2 * CELLS_PER_SIDE

MAX_EXACT_VALUES = 512
"""Up to this many distinct values a column is discrete: its profile keeps the values themselves."""
MAX_CATEGORIES = 1_000
"""The most frequent categories are kept by name, the others are counted together."""

_MANTISSA_BITS = 52
_SHIFT = _MANTISSA_BITS - BITS_PER_DOUBLING
_CELL_OF_ONE = 1023 << BITS_PER_DOUBLING  # the exponent of 1.0 is stored as 1023
_BLOCK = 16_384  # values at a time: all intermediate results stay in the processor's cache


@dataclass(frozen=True, slots=True)
class NumericBins:
    """The cells of a numeric column (and of datetimes, as seconds)."""

    center: float
    scale: float
    values: tuple[float, ...] | None = None
    """All values of the reference, ascending, if they are few and each has a cell of its own."""

    @classmethod
    def fit(cls, sample: Floats) -> Self:
        """Choose the layout from a sample of the reference's finite values (at least one)."""
        center = float(np.median(sample))
        scale = next(
            (
                spread
                for lower, upper in ((25, 75), (5, 95), (0, 100))
                if (spread := float(np.subtract(*np.percentile(sample, [upper, lower])))) > 0
            ),
            abs(center) * 1e-9 or 1e-6,  # a constant: any other value shall have a cell of its own
        )
        # Cells narrower than the steps of floating point numbers would be empty for ever, and a scale next to
        # nothing has no reciprocal.
        layout = cls(center, max(scale, abs(center) * 1e-9, 1e-100))
        values = np.unique(sample)
        if len(values) > MAX_EXACT_VALUES or len(np.unique(layout.cells_of(values))) < len(values):
            return layout
        return cls(layout.center, layout.scale, tuple(values.tolist()))

    def cells_of(self, values: Floats) -> Integers:
        """The cell of each finite value, from 0 to CELLS - 1, ascending with the values."""
        cells = np.empty(len(values), np.int64)
        for start in range(0, len(values), _BLOCK):
            block = slice(start, start + _BLOCK)
            self._place(values[block] + self._shift, cells[block])
        return cells

    def count(self, values: Floats) -> tuple[Integers, float, float]:
        """Finite values per cell, and the sums of their distances from the center and of the squares."""
        cells = np.empty(len(values), np.int64)
        total = squares = 0.0
        for start in range(0, len(values), _BLOCK):
            block = slice(start, start + _BLOCK)
            offsets = values[block] + self._shift
            total += float(offsets.sum())
            # Not np.dot: it would wake the threads of BLAS, which then compete with polars'.
            squares += float(np.einsum("i,i->", offsets, offsets))
            self._place(offsets, cells[block])
        return np.bincount(cells, minlength=CELLS), total, squares

    @property
    def _shift(self) -> float:
        return 0.0 - self.center  # added, not subtracted: -0.0 + 0.0 is 0.0, but -0.0 - 0.0 is -0.0

    def _place(self, offsets: Floats, cells: Integers) -> None:
        """Write the cells of `offsets` from the center, which are used up."""
        offsets *= 1.0 / self.scale
        distances = np.abs(offsets)
        distances += 1.0
        np.right_shift(distances.view(np.int64), _SHIFT, out=cells)
        cells -= _CELL_OF_ONE
        np.minimum(cells, CELLS_PER_SIDE - 1, out=cells)
        # Below the center the sign's bits are all ones: 0 becomes -1, 1 becomes -2, ...
        signs = offsets.view(np.int64)
        signs >>= 63
        cells ^= signs
        cells += CELLS_PER_SIDE

    def bounds(self, cells: Integers) -> tuple[Floats, Floats]:
        """Lower and upper bound of each cell, infinite at the ends; the value itself where it is known."""
        right = cells >= CELLS_PER_SIDE
        steps = np.where(right, cells - CELLS_PER_SIDE, CELLS_PER_SIDE - 1 - cells)
        near, far = _distance(steps) * self.scale, _distance(steps + 1) * self.scale
        far[steps == CELLS_PER_SIDE - 1] = np.inf  # the last cell takes all that is farther
        lower = self.center + np.where(right, near, -far)
        upper = self.center + np.where(right, far, -near)
        if self.values is not None:
            known = np.asarray(self.values)
            _, at, of = np.intersect1d(cells, self.cells_of(known), assume_unique=True, return_indices=True)
            lower[at] = upper[at] = known[of]
        return lower, upper


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """The categories of a categorical or boolean column, the most frequent first."""

    categories: tuple[str, ...]
    distinct: int
    """How many the reference has, which may be more than are kept. Beyond 100,000 it is about how many."""

    @classmethod
    def fit(cls, categories: Sequence[str], distinct: int) -> Self:
        """Keep the first of `categories`, which come with the most frequent first."""
        return cls(tuple(categories[:MAX_CATEGORIES]), distinct)

    @property
    def complete(self) -> bool:
        """Every category of the reference is kept, so that any other one was never seen."""
        return self.distinct == len(self.categories)


def _distance(steps: Integers) -> Floats:
    """How far from the center, in scales, a cell begins that is `steps` cells away from it."""
    distances: Floats = ((steps + _CELL_OF_ONE) << _SHIFT).view(np.float64) - 1.0
    return distances
