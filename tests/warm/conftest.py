"""A warm server for each test module, started by its first job."""

from collections.abc import Iterator

import pytest

from tests.orchestrator.conftest import client, door, model  # noqa: F401 - fixtures
from tests.warm.launching import Launching


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launching]:
    """Jobs of one environment; no process is left."""
    home = tmp_path_factory.mktemp("warm")
    for folder in ("modules", "job"):
        (home / folder).mkdir()
    launching = Launching(home / "sockets", home / "modules")
    yield launching
    launching.kill_servers()
