"""The table as a picture: how far each figure is from its bound, and the seconds behind the ratios."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.ratio import Line

KEPT, MISSED, COLOURS = "#1f6fb4", "#c0392b", ("#1f6fb4", "#8c8c8c", "#c9a227", "#4d9a6a")
INCHES_A_LINE, INCHES_OF_FRAME = 0.24, 1.1
LONGEST_NAME = 90


def draw(lines: Sequence[Line], machine: str, path: Path) -> None:
    """A PNG: a dot for each line that has a bound, a strip of dots for each that kept its samples."""
    bounded = [line for line in lines if line.share]
    sampled = [line for line in lines if line.samples]
    rows = [len(bounded), *(len(line.samples) for line in sampled)]
    heights = [INCHES_OF_FRAME + INCHES_A_LINE * count for count in rows]
    figure = Figure(figsize=(11, sum(heights)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(machine, fontsize=8)
    axes = figure.subplots(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    _distances(axes[0], bounded)
    for axis, line in zip(axes[1:], sampled, strict=True):
        _strips(axis, line)
    for axis in axes:
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    figure.savefig(path)


def _distances(axis: Axes, lines: Sequence[Line]) -> None:
    """How many times better than its bound each figure is; below 1 it misses it."""
    for at, line in enumerate(reversed(lines)):
        share = line.share or 1.0
        better = share if line.bound.startswith(">=") else 1 / share
        axis.plot([1, better], [at, at], color=KEPT if line.kept else MISSED, linewidth=2)
        axis.plot(better, at, "o", color=KEPT if line.kept else MISSED)
        axis.annotate(
            line.measured, (better, at), xytext=(6, 0), textcoords="offset points", va="center", size=7
        )
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_ylim(-0.7, len(lines) - 0.3)
    axis.margins(x=0.15)
    names = [f"{shorten(line.what, LONGEST_NAME)}  ({line.bound})" for line in reversed(lines)]
    axis.set_yticks(range(len(lines)), names, fontsize=7)
    axis.set_xlabel("times better than its bound (line: the bound)", fontsize=8)


def _strips(axis: Axes, line: Line) -> None:
    """Every sample of each side, and its median."""
    for at, (side, seconds) in enumerate(line.samples.items()):
        colour = COLOURS[at % len(COLOURS)]
        axis.plot(seconds, [at] * len(seconds), "|", color=colour, markersize=9)
        axis.plot(sorted(seconds)[len(seconds) // 2], at, "o", color=colour, label=side)
    axis.set_yticks(range(len(line.samples)), list(line.samples), fontsize=7)
    axis.set_ylim(-0.7, len(line.samples) - 0.3)
    axis.set_xscale("log")
    axis.set_xlabel("seconds (dot: median)", fontsize=8)
    axis.set_title(f"{line.what}: {line.measured}", fontsize=8, loc="left")
