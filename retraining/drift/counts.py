"""What is known of a column in one window: its values counted in the bins of the reference."""

from dataclasses import dataclass

from retraining.drift.bins import Integers


@dataclass(frozen=True, slots=True, eq=False)
class NumericCounts:
    """A numeric column's values by cell. Infinite and NaN count as missing, as with Evidently."""

    missing: int
    cells: Integers
    """The cells with values in them, ascending."""
    counts: Integers
    """The number of values in each of `cells`."""
    minimum: float
    maximum: float
    mean: float
    std: float
    """Population standard deviation (ddof 0). The four are NaN without values."""
    integers: bool
    """The column's type is a whole number."""

    @property
    def present(self) -> int:
        """Number of values that are not missing."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True, eq=False)
class CategoryCounts:
    """A categorical or boolean column's values by category."""

    missing: int
    counts: Integers
    """The number of values in each of the bins' categories, in their order."""
    other: int
    """The number of values in none of them."""
    examples: tuple[str, ...] = ()
    """Some of the others, where the reference has none."""

    @property
    def present(self) -> int:
        """Number of values that are not missing."""
        return int(self.counts.sum()) + self.other


@dataclass(frozen=True, slots=True)
class Vanished:
    """The reference has the column, the window does not."""


@dataclass(frozen=True, slots=True)
class Retyped:
    """The column has become something that cannot be counted in the reference's bins."""

    found: str


ColumnCounts = NumericCounts | CategoryCounts
