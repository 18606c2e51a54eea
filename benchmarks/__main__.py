"""`make bench`: every benchmark, and one table of what came out beside what should.

make bench                         everything, about half an hour
make bench BENCH=--quick           two minutes, smaller: the figures say less
make bench BENCH="--nannyml-python .nannyml/bin/python"     also NannyML, from an environment of its own
"""

import argparse
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import drift, facade, performance, sources, triggers
from benchmarks.plot import draw
from benchmarks.ratio import Line, table

RESULTS = Path(__file__).parents[1] / "build" / "benchmarks"
QUICK_DRIFT = (
    *("--rows", "100000", "--rounds", "1", "--memory-rows", "1000000"),
    *("--pairs", "20", "--evidently-pairs", "2"),
)
QUICK_PERFORMANCE = ("--trials", "300")
QUICK_TRIGGERS = ("--triggers", "60", "--models", "12")


def lines(*, quick: bool, nannyml_python: str | None) -> Iterator[Line]:
    """Every figure, as it is measured."""
    yield from (ratio.line() for ratio in sources.ratios(rows=300_000 if quick else sources.ROWS))
    peer = () if nannyml_python is None else ("--nannyml-python", nannyml_python)
    yield from drift.lines((*(QUICK_DRIFT if quick else ()), *peer))
    yield from performance.lines(QUICK_PERFORMANCE if quick else ())
    yield from triggers.lines(QUICK_TRIGGERS if quick else ())
    yield from facade.lines(("--quick",) if quick else ())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the machine and the table; the sides of a ratio take turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, in about two minutes")
    parser.add_argument("--nannyml-python", help="an interpreter with nannyml and statsmodels")
    chosen = parser.parse_args(arguments)
    machine = f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    print(f"{machine}\n", flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    found: list[Line] = []
    for line in lines(quick=chosen.quick, nannyml_python=chosen.nannyml_python):
        found.append(line)
        # After each: a run that breaks off has not measured for nothing.
        (RESULTS / "results.md").write_text(f"{machine}\n\n{table(found)}\n\n![the figures](results.png)\n")
        draw(found, machine, RESULTS / "results.png")
    print(f"\n{table(found)}\n\nkept in {RESULTS.relative_to(RESULTS.parents[1])}, with a plot")


if __name__ == "__main__":
    main()
