"""A warm server for each test module, started by its first job."""

import signal
from collections.abc import Iterator

import pytest

from tests.orchestrator.conftest import client, door, model  # noqa: F401 - fixtures
from tests.warm.launching import Launching


@pytest.fixture(scope="module", autouse=True)
def signals_as_in_a_foreground() -> Iterator[None]:
    """A shell has what it starts in the background ignore some, and so would the jobs."""
    ignored = [
        number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launching]:
    """Jobs of one environment; no process is left."""
    home = tmp_path_factory.mktemp("warm")
    for folder in ("modules", "job"):
        (home / folder).mkdir()
    launching = Launching(home / "sockets", home / "modules")
    yield launching
    launching.kill_servers()
