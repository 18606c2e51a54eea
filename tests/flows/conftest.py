"""Flows run in this process, against a real Prefect server and a real MLflow."""

from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from retraining.registry.mlflow_registry import MlflowRegistry


@pytest.fixture
def servers(prefect_api: str, mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a worker's environment gives a job."""
    monkeypatch.setenv("RETRAINING_MLFLOW_URL", mlflow_url)
    monkeypatch.setenv("RETRAINING_MODELS", "tests.flows.models:tiny,tests.flows.models:fragile")
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield


@pytest.fixture
def registry(mlflow_url: str) -> MlflowRegistry:
    return MlflowRegistry(mlflow_url)
