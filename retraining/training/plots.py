"""One picture of a comparison, small enough to live inside a markdown page."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from retraining.promotion import figures
from retraining.training.comparison import Comparison
from retraining.training.metrics import Labels, Scores
from retraining.training.weighted import predicted_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHAMPION, _CHALLENGER, _QUIET = "#8c8c8c", "#1f6fb4", "#c9c9c9"
_DPI = 90
_PANEL = (3.4, 3.1)
"""Inches."""
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.65, 0.1, 0.5, 0.3
"""Inches around each panel, for its labels. Letting matplotlib measure them takes as long as all the rest."""
_LONG_NAMES = 0.4
"""Inches more, left and below, for names of classes."""
_STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titley": 1.0,  # else it is placed by measuring all ticks
}
_MAX_ROWS = 200_000
_MAX_POINTS = 400
_BINS = 10
_MAX_NAMED_CLASSES = 12

Side = tuple[str, str, Scores]
"""Name, colour, scores."""


def comparison_plot(comparison: Comparison) -> bytes:
    """A PNG of some 30 kB: how well each version predicts, and how sure the difference is.

    Binary: ROC curves and calibration. Regression: mean label by decile of the prediction, and the spread of
    the errors. Multiclass: confusion matrices. Then the bootstrap distribution of the improvement, where
    there is a champion to compare with.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sides: list[Side] = [("challenger", _CHALLENGER, comparison.challenger_scores)]
    if comparison.champion_scores is not None:
        sides.insert(0, ("champion", _CHAMPION, comparison.champion_scores))
    labels, sides = _thinned(comparison.labels, sides)
    panels = 2 if comparison.improvement is None else 3
    if comparison.spec.task == "multiclass":
        panels -= 2 - len(sides)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_PANEL[0] * panels, _PANEL[1]), dpi=_DPI)
        FigureCanvasAgg(figure)
        axes = _panels(figure, panels, _LONG_NAMES if comparison.spec.task == "multiclass" else 0.0)
        match comparison.spec.task:
            case "binary":
                _roc_curves(axes[0], labels, sides)
                _calibration(axes[1], labels, sides)
            case "regression":
                _by_decile(axes[0], labels, sides)
                _error_spread(axes[1], labels, sides)
            case "multiclass":
                for axis, side in zip(axes, sides, strict=False):
                    _confusion(axis, labels, side, comparison.parts.classes)
        if comparison.improvement is not None:
            _distribution(axes[-1], comparison)
        return _png(figure)


def _panels(figure: "Figure", count: int, more: float) -> "list[Axes]":
    """The axes of panels side by side, with so many inches more for names than numbers need."""
    width, height = _PANEL
    left, bottom = _LEFT + more, _BOTTOM + more
    across, up = (width - left - _RIGHT) / width, (height - bottom - _TOP) / height
    return [
        figure.add_axes(((panel + left / width) / count, bottom / height, across / count, up))
        for panel in range(count)
    ]


def _png(figure: "Figure") -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _thinned(labels: Labels, sides: list[Side]) -> tuple[Labels, list[Side]]:
    """At most _MAX_ROWS rows, evenly: more would change no pixel."""
    step = -(-len(labels) // _MAX_ROWS)
    return labels[::step], [(name, colour, scores[::step]) for name, colour, scores in sides]


def _roc_curves(axis: "Axes", labels: Labels, sides: list[Side]) -> None:
    from sklearn.metrics import auc, roc_curve

    axis.plot([0, 1], [0, 1], color=_QUIET, linewidth=0.8, linestyle="--")
    for name, colour, scores in sides:
        false, true, _ = roc_curve(labels, scores)
        shown = np.unique(np.linspace(0, len(false) - 1, _MAX_POINTS).astype(int))
        axis.plot(false[shown], true[shown], color=colour, label=f"{name} (area {auc(false, true):.3f})")
    axis.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    axis.legend(frameon=False, loc="lower right")


def _calibration(axis: "Axes", labels: Labels, sides: list[Side]) -> None:
    axis.plot([0, 1], [0, 1], color=_QUIET, linewidth=0.8, linestyle="--")
    for name, colour, scores in sides:
        predicted, actual = _decile_means(labels, scores)
        axis.plot(predicted, actual, color=colour, marker="o", markersize=3, label=name)
    axis.set(title="Calibration, by decile", xlabel="mean predicted probability", ylabel="share of positives")
    axis.legend(frameon=False, loc="upper left")


def _by_decile(axis: "Axes", labels: Labels, sides: list[Side]) -> None:
    ends = []
    for name, colour, scores in sides:
        predicted, actual = _decile_means(labels, scores)
        axis.plot(predicted, actual, color=colour, marker="o", markersize=3, label=name)
        ends += [predicted.min(), predicted.max(), actual.min(), actual.max()]
    axis.plot([min(ends), max(ends)], [min(ends), max(ends)], color=_QUIET, linewidth=0.8, linestyle="--")
    axis.set(title="Predicted and actual, by decile", xlabel="mean prediction", ylabel="mean label")
    axis.legend(frameon=False, loc="upper left")


def _error_spread(axis: "Axes", labels: Labels, sides: list[Side]) -> None:
    shares = np.linspace(0, 1, _MAX_POINTS)
    for name, colour, scores in sides:
        errors = np.quantile(np.abs(labels - scores), shares)
        axis.plot(errors, shares, color=colour, label=name)
    farthest = max(float(np.quantile(np.abs(labels - scores), 0.98)) for *_, scores in sides)
    axis.set(title="Absolute errors", xlabel="absolute error", ylabel="share of rows up to it")
    axis.set_xlim(0, farthest or 1.0)
    axis.set_ylim(0, 1)
    axis.legend(frameon=False, loc="lower right")


def _confusion(axis: "Axes", labels: Labels, side: Side, classes: tuple[object, ...]) -> None:
    name, _, scores = side
    count = scores.shape[1]
    pairs = labels.astype(np.intp) * count + predicted_classes(scores).astype(np.intp)
    table = np.bincount(pairs, minlength=count * count).reshape(count, count).astype(np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if count <= _MAX_NAMED_CLASSES:
        ticks, names = list(range(count)), [_short(value) for value in classes]
        axis.set_xticks(ticks, names, rotation=45, ha="right")
        axis.set_yticks(ticks, names)
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.5 else "black"
            axis.text(column, row, f"{share:.0%}", ha="center", va="center", color=colour, fontsize=7)
    axis.set(title=f"Confusion, {name}", xlabel="predicted", ylabel="actual")


def _distribution(axis: "Axes", comparison: Comparison) -> None:
    assert comparison.improvement is not None
    interval, drawn = comparison.improvement.interval, comparison.improvement.resamples
    axis.stairs(*np.histogram(drawn, bins=40), fill=True, color=_CHALLENGER, alpha=0.75)
    axis.axvline(0, color="black", linewidth=1)
    if np.isfinite([interval.low, interval.high]).all():
        axis.axvspan(interval.low, interval.high, color=_QUIET, alpha=0.4, zorder=0)
        low, high = figures(interval.low, interval.high)
        label = f"improvement ({interval.confidence:.0%} interval {low} to {high})"
    else:
        label = "improvement"
    axis.set(title=f"Improvement in {comparison.spec.primary_metric.name}", xlabel=label, ylabel="resamples")
    axis.locator_params(axis="x", nbins=5)


def _decile_means(labels: Labels, scores: Scores) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean score and mean label of each tenth of the rows, in the order of the scores."""
    order = np.argsort(scores, kind="stable")
    tenths = np.array_split(order, min(_BINS, len(order)))
    return (
        np.array([scores[rows].mean() for rows in tenths]),
        np.array([labels[rows].mean() for rows in tenths]),
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 12 else f"{text[:11]}…"
