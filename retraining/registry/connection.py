"""How the door talks to MLflow: its settings in this process, and its errors in the product's words."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from retraining.errors import RegistryRefused, RegistryUnavailable

PING_SECONDS = 2.0
ABSENT = "RESOURCE_DOES_NOT_EXIST"
EXISTS = "RESOURCE_ALREADY_EXISTS"


def prepare_process(timeout_seconds: int, retries: int) -> None:
    """Set what MLflow can only be told through the environment; what the operator has set stands.

    MLflow's client takes its timeout and its retries from there at every request, and there is no argument
    for either. Its defaults (120 s, 7 retries) would let a facade hang for minutes on a dead server; jobs
    have the retries of their Prefect tasks instead. The first registry of a process decides.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_seconds),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(name, value)


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Translate what MLflow raises while it is asked to do something ("list the versions of 'churn'").

    Raises:
        RegistryUnavailable: no connection, a timeout, a 5xx or 429 answer: later it may work.
        RegistryRefused: every other answer: bad credentials, a value that MLflow does not take.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except MlflowException as exc:
        # MLflow raises failures to connect as INTERNAL_ERROR too, which counts as 500.
        status = int(exc.get_http_status_code())  # type: ignore[no-untyped-call]  # MLflow's own
        if status >= 500 or status == 429:
            raise RegistryUnavailable(doing) from exc
        raise RegistryRefused(doing, exc.message) from exc
    except RequestException as exc:
        # Artifacts come and go without MLflow's own exceptions.
        status = 500 if exc.response is None else exc.response.status_code
        if status >= 500 or status == 429:
            raise RegistryUnavailable(doing) from exc
        raise RegistryRefused(doing, str(exc)) from exc


def ping(tracking_uri: str) -> None:
    """Raise RegistryUnavailable unless the server at this address answers within 2 seconds."""
    import httpx

    try:
        httpx.get(f"{tracking_uri.rstrip('/')}/health", timeout=PING_SECONDS).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise RegistryUnavailable("health check") from exc
