"""Two sides measured in turns, so that a machine whose speed drifts drifts for both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

ROUNDS = 7


@dataclass(frozen=True)
class Ratio:
    """Medians of both sides in seconds, and of the ratios pair by pair."""

    name: str
    ours: float
    peer: float
    ratio: float

    def __str__(self) -> str:
        return f"| {self.name} | {self.ours:.3f} s | {self.peer:.3f} s | {self.ratio:.2f} |"


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
