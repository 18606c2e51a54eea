"""Addresses of MLflow's pages."""

import pytest

from retraining.registry.pages import at_todays_address, file_page, model_page, run_page


@pytest.mark.parametrize(
    "mlflow", ["http://mlflow:5000", "http://mlflow:5000/", "http://ada:secret@mlflow:5000"]
)
def test_pages_never_show_the_credentials_of_the_server(mlflow: str) -> None:
    assert run_page(mlflow, "1", "0f5c") == "http://mlflow:5000/#/experiments/1/runs/0f5c"
    assert model_page(mlflow, "late-payment") == "http://mlflow:5000/#/models/late-payment"


@pytest.mark.parametrize(
    ("kept", "today"),
    [
        ("http://127.0.0.1:5000/#/experiments/1/runs/0f5c", "https://ml.test/x/#/experiments/1/runs/0f5c"),
        ("https://ml.test/x/#/experiments/1/runs/0f5c", "https://ml.test/x/#/experiments/1/runs/0f5c"),
        (
            file_page(run_page("http://127.0.0.1:5000", "1", "0f5c"), "drift_report.html"),
            "https://ml.test/x/#/experiments/1/runs/0f5c/artifacts/drift_report.html",
        ),
        ("https://elsewhere.test/report.html", "https://elsewhere.test/report.html"),
    ],
)
def test_a_kept_page_is_found_where_mlflow_is_today_and_nothing_else_moves(kept: str, today: str) -> None:
    assert at_todays_address(kept, "https://ml.test/x/") == today
