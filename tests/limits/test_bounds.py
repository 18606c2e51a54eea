"""Bounds of real processes that use too much."""

import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retraining.catalog.resources import MIB, Resources
from retraining.limits.bounds import bounded
from retraining.stack.processes import alive

SECONDS = 120
MEMORY = Resources(memory="400 MiB")
TIME = Resources(time_limit=1)


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def run(scratch: Path, resources: Resources, work: str) -> int:
    command = [sys.executable, "-m", "tests.limits.bounded_job", str(scratch)]
    ended = subprocess.run(
        [*command, resources.model_dump_json(exclude_none=True), work], timeout=SECONDS, check=False
    )
    return ended.returncode


def processes(scratch: Path, kind: str = "*") -> list[int]:
    return [int(path.name.partition("-")[2]) for path in scratch.glob(f"{kind}-*")]


@pytest.mark.parametrize(
    ("work", "resources", "reason"),
    [
        (
            "allocate_without_end",
            MEMORY,
            r"used more than its memory bound of 0\.39 GiB \(0\.\d+ GiB\), while training; "
            r"raise resources\.memory of the model, or let it train on less",
        ),
        ("children_allocate", MEMORY, r"used more than .* \(0\.\d+ GiB in 4 processes\), while training; .*"),
        (
            "sleep_deaf_with_the_lock",
            TIME,
            r"took longer than its time limit of 1 s, while (starting|training); raise .*",
        ),
    ],
)
def test_a_job_that_uses_too_much_is_killed_with_all_its_processes_once_the_reason_is_reported(
    tmp_path: Path, work: str, resources: Resources, reason: str
) -> None:
    assert run(tmp_path, resources, work) == -9
    assert re.fullmatch(reason, (tmp_path / "reason").read_text())
    until(lambda: not any(map(alive, processes(tmp_path))))


@pytest.mark.parametrize("work", ["share_memory", "reserve_without_use", "nothing"])
def test_what_is_shared_or_only_reserved_is_no_memory_used(tmp_path: Path, work: str) -> None:
    assert run(tmp_path, MEMORY, work) == 0
    assert not (tmp_path / "reason").exists()
    assert 10 * MIB < int((tmp_path / "peak").read_text()) <= 2000 * MIB
    until(lambda: not any(map(alive, processes(tmp_path))))


def test_a_watch_ends_with_a_job_that_is_killed(tmp_path: Path) -> None:
    assert run(tmp_path, TIME, "die") == -9
    assert processes(tmp_path, "watch")
    until(lambda: not any(map(alive, processes(tmp_path, "watch"))))


def test_a_job_that_is_done_in_time_stays_alive(tmp_path: Path) -> None:
    """What comes after the work is not bounded."""
    report = [sys.executable, "-c", "import sys; raise SystemExit(1)", str(tmp_path)]
    with bounded(Resources(time_limit=600), logging.getLogger(), report=report, environment={}) as bounds:
        assert bounds.peak_bytes() > MIB
    assert bounds.peak_bytes() > MIB


def test_threads_are_those_of_training(tmp_path: Path) -> None:
    """In this process, and through the environment in those that it starts."""
    code = """
import logging, os
import numpy, sklearn.ensemble
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_info
from retraining.catalog.resources import Resources
from retraining.limits.bounds import bounded
with bounded(Resources(threads=1), logging.getLogger(), report=[], environment={}):
    print({pool["num_threads"] for pool in threadpool_info()}, _openmp_effective_n_threads())
    print(os.environ["OMP_NUM_THREADS"])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["{1}", "1", "1"]


@pytest.mark.parametrize(
    "given", [{"threads": 0}, {"memory": "1 KiB"}, {"memory": "much"}, {"time_limit": 0}, {"disk": 1}]
)
def test_bounds_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        Resources(**given)


def test_a_models_bounds_come_before_the_settings() -> None:
    assert Resources(memory="4 GiB").or_else(Resources(memory="1 GiB", threads=2)) == Resources(
        memory=4 * 1024 * MIB, threads=2
    )
