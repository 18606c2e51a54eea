"""Session-wide real servers. Fixtures that only some folders need stay in their own conftest."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import postgres_server
from tests.servers import QUIET, mlflow_server, prefect_server
from tests.stack.running import MORE_MODELS, RunningStack, running_stack

os.environ.update(QUIET)
# OpenMP's threads spin while they wait; beside servers on two cores that costs more than the training.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

DATA = Path(__file__).parent / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `at_the_end` come last, in their order."""
    items.sort(key=lambda item: item.get_closest_marker("at_the_end") is not None)


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API address of a real Prefect server."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a real PostgreSQL server, without a database."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole stack, as `retraining up` runs it. For tests that leave it alive; mark them `stack`."""
    with running_stack(tmp_path_factory.mktemp("stack") / "home", env=MORE_MODELS) as running:
        yield running
