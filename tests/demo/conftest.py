"""The demo, played once beside the tests of the session."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "retraining.demo"]
STOP_SECONDS = 30


@dataclass(frozen=True)
class PlayedDemo:
    """A demo that was started, and where to find what it says."""

    process: subprocess.Popen[bytes]
    temporary: Path
    """Where it makes its home."""
    said: Path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedDemo]:
    """A demo that goes on while other tests run: it waits most of its two minutes."""
    temporary, said = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("said") / "demo.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            COMMAND, env=demo_environment(temporary), stdout=output, stderr=subprocess.STDOUT
        )
    yield PlayedDemo(process, temporary, said)
    process.terminate()
    process.wait(STOP_SECONDS)


def demo_environment(temporary: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temporary)}
