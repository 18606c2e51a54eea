"""The real registry on the session's MLflow server, and model names that no other test uses."""

from uuid import uuid4

import pytest
from mlflow import MlflowClient

from retraining.registry.mlflow_registry import MlflowRegistry


@pytest.fixture
def registry(mlflow_url: str) -> MlflowRegistry:
    return MlflowRegistry(mlflow_url)


@pytest.fixture
def client(mlflow_url: str) -> MlflowClient:
    """MLflow's own client: what anybody else sees and does."""
    return MlflowClient(mlflow_url, registry_uri=mlflow_url)


@pytest.fixture
def model_name() -> str:
    return f"m-{uuid4().hex[:8]}"
