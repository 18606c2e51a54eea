"""The drift methods by name, and which one fits a column."""

from typing import Literal

from retraining.drift.kinds import Kind

Method = Literal["psi", "jensen_shannon", "wasserstein", "kolmogorov_smirnov", "chi_square"]
FEW_VALUES = 5
"""Up to so many distinct numbers are compared like categories (Evidently's rule)."""

_FOR_NUMBERS_ONLY: tuple[Method, ...] = ("wasserstein", "kolmogorov_smirnov")


def choose_method(
    wanted: Method | Literal["auto"], kind: Kind, *, distinct: int | None, heavy_tailed: bool
) -> Method:
    """The method for a column: the wanted one where it can be computed, otherwise what `auto` takes.

    `auto` is Evidently's choice for large windows: Jensen-Shannon for categories and for numbers of up to 5
    distinct values, the normalized Wasserstein distance for other numbers. The exception are heavy tails,
    where the standard deviation that normalizes it is made by a handful of rows, so that neither its small
    nor its large values mean anything; the Kolmogorov-Smirnov distance sees ranks only. `distinct` is None
    where it is large.
    """
    categorical = kind in ("categorical", "boolean")
    if wanted != "auto" and not (categorical and wanted in _FOR_NUMBERS_ONLY):
        return wanted
    if categorical or (distinct is not None and distinct <= FEW_VALUES):
        return "jensen_shannon"
    return "kolmogorov_smirnov" if heavy_tailed else "wasserstein"
