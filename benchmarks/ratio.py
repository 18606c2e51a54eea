"""Two sides measured in turns, so that a machine whose speed drifts drifts for both; and what came out."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import ge, le
from statistics import median

ROUNDS = 7


@dataclass(frozen=True)
class Line:
    """One measured figure, and the bound that it should keep."""

    what: str
    measured: str
    bound: str = "-"
    """In words; "-" for a figure that is only shown."""
    kept: bool | None = None
    share: float | None = None
    """What was measured, divided by the bound."""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Seconds of each round by side, for the plot."""

    def __str__(self) -> str:
        kept = {True: "yes", False: "**NO**", None: "-"}[self.kept]
        return f"| {self.what} | {self.measured} | {self.bound} | {kept} |"


def _bounded(
    sign: str,
    keeps: Callable[[float, float], bool],
    what: str,
    measured: float,
    bound: float,
    unit: str = "x",
    samples: Mapping[str, Sequence[float]] | None = None,
) -> Line:
    """A figure, and whether it keeps its bound."""
    kept, share = keeps(measured, bound), measured / bound
    return Line(what, f"{measured:,.2f} {unit}", f"{sign} {bound:g} {unit}", kept, share, samples or {})


at_most = partial(_bounded, "<=", le)
at_least = partial(_bounded, ">=", ge)


def table(lines: Iterable[Line]) -> str:
    """All of them as one table, in Markdown."""
    return "\n".join(["| figure | measured | should be | is it |", "|---|---:|---:|---:|", *map(str, lines)])


def print_lines(lines: Iterable[Line]) -> None:
    """Print the table of them."""
    print(f"\n{table(lines)}")


@dataclass(frozen=True)
class Ratio:
    """Medians of both sides in seconds, and of the ratios pair by pair."""

    name: str
    ours: float
    peer: float
    ratio: float

    def line(self) -> Line:
        """As a line of the table."""
        return Line(self.name, f"{self.ratio:.2f} x ({self.ours:.3f} s / {self.peer:.3f} s)")


def measure(name: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int = ROUNDS) -> Ratio:
    """Run both sides `rounds` times in turns, after one run each that does not count."""
    ours(), peer()
    pairs = [(_seconds(ours), _seconds(peer)) for _ in range(rounds)]
    return Ratio(
        name,
        median(own for own, _ in pairs),
        median(other for _, other in pairs),
        median(own / other for own, other in pairs),
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
