"""Addresses of pages in MLflow's interface. No MLflow in here.

The server may move, to another port or behind another name, after the address of a page was kept with a job.
What follows `#` stays the same.
"""

from functools import cache
from urllib.parse import quote, urlsplit


def run_page(mlflow: str, experiment_id: str, run_id: str) -> str:
    """Where MLflow at this address shows a run."""
    return f"{_base(mlflow)}/#/experiments/{quote(experiment_id)}/runs/{quote(run_id)}"


def file_page(page: str, path: str) -> str:
    """Where MLflow shows a file of the run that has this page."""
    return f"{page}/artifacts/{quote(path)}"


def model_page(mlflow: str, model_name: str) -> str:
    """Where MLflow at this address shows a registered model."""
    return f"{_base(mlflow)}/#/models/{quote(model_name)}"


def at_todays_address(kept: str, mlflow: str) -> str:
    """The address of a page as MLflow has it today; `kept` is of the day when it was kept."""
    _, page, path = kept.partition("/#/")
    return f"{_base(mlflow)}/#/{path}" if page else kept


@cache
def _base(mlflow: str) -> str:
    """The address without the credentials that it may carry."""
    parts = urlsplit(mlflow)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
