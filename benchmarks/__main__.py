"""`make bench`: every benchmark, and one table of what came out beside what should.

make bench                                  everything, about an hour and a half
make bench BENCH=--quick                    a quarter of an hour, smaller: the figures say less
make bench BENCH="--only fleet facade"      these parts; the table keeps the others as they were
make bench BENCH="--nannyml-python .nannyml/bin/python"     also NannyML, from an environment of its own
"""

import argparse
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks import drift, facade, fleet, performance, sources, training, triggers
from benchmarks.plot import draw
from benchmarks.ratio import Line, table

RESULTS = Path(__file__).parents[1] / "build" / "benchmarks"
LINES = TypeAdapter(list[Line])
PARTS: Mapping[str, Callable[[Sequence[str]], Iterator[Line]]] = {
    "fleet": fleet.lines,
    "training": training.lines,
    "facade": facade.lines,
    "sources": sources.lines,
    "drift": drift.lines,
    "performance": performance.lines,
    "triggers": triggers.lines,
}
QUICK: Mapping[str, Sequence[str]] = {
    "fleet": ("--quick",),
    "training": ("--quick",),
    "facade": ("--quick",),
    "sources": ("--rows", "300000"),
    "drift": (
        *("--rows", "100000", "--rounds", "1", "--memory-rows", "1000000"),
        *("--pairs", "20", "--evidently-pairs", "2"),
    ),
    "performance": ("--trials", "300"),
    "triggers": ("--triggers", "60", "--models", "12"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the machine and the table; the sides of a ratio take turns."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, in a quarter of an hour")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--nannyml-python", help="an interpreter with nannyml and statsmodels")
    chosen = parser.parse_args(arguments)
    machine = f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    print(f"{machine}\n", flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in chosen.only:
        options = [*(QUICK[name] if chosen.quick else ())]
        if name == "drift" and chosen.nannyml_python is not None:
            options += ["--nannyml-python", chosen.nannyml_python]
        found: list[Line] = []
        for line in PARTS[name](options):
            found.append(line)
            # After each: a run that breaks off has not measured for nothing.
            _kept_in(name).write_bytes(LINES.dump_json(found, indent=1))
            show(machine)
    print(f"\n{table(measured())}\n\nkept in {RESULTS.relative_to(RESULTS.parents[1])}, with a plot")


def measured() -> list[Line]:
    """The latest figures of every part that was measured here."""
    kept = [path for path in map(_kept_in, PARTS) if path.exists()]
    return [line for path in kept for line in LINES.validate_json(path.read_bytes())]


def show(machine: str) -> None:
    """Write the table and the plot of what is measured so far."""
    text = f"{machine}\n\n{table(measured())}\n\n![the figures](results.png)\n"
    (RESULTS / "results.md").write_text(text)
    draw(measured(), machine, RESULTS / "results.png")


def _kept_in(part: str) -> Path:
    return RESULTS / f"{part}.json"


if __name__ == "__main__":
    main()
