"""The page that people look at in Prefect."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from retraining.jobs.job import TriggerType
from retraining.monitoring.evaluation_page import MAX_ROWS, evaluation_markdown
from retraining.triggers.evaluation import Action, ColumnScore, Evaluation, MetricScore, Outcome

AT = datetime(2026, 5, 4, 8, tzinfo=UTC)


def evaluation(**facts: Any) -> Evaluation:
    defaults: dict[str, Any] = {
        "id": UUID(int=1),
        "trigger_id": UUID(int=2),
        "model_name": "churn",
        "trigger_type": TriggerType.DRIFT,
        "source": "schedule",
        "at": AT,
        "as_of": AT,
        "outcome": Outcome.BREACHED,
        "reason": "1 of 2 columns drifted",
        "champion_version": "3",
        "patience": 2,
        "patience_count": 1,
        "in_cooldown": False,
        "action": Action.HELD_BY_PATIENCE,
    }
    return Evaluation(**{**defaults, **facts})


def column(name: str, **facts: Any) -> ColumnScore:
    defaults: dict[str, Any] = {
        "kind": "numeric",
        "method": "psi",
        "score": 0.51234,
        "threshold": 0.1,
        "p_value": 0.0,
        "drifted": True,
        "reason": "moved",
    }
    return ColumnScore(column=name, **{**defaults, **facts})


def test_the_page_says_what_was_found_and_done() -> None:
    page = evaluation_markdown(
        evaluation(
            window_start=AT - timedelta(days=30),
            window_end=AT,
            rows=12_345,
            columns=(column("spend"), column("age", score=None, threshold=None, method=None, drifted=False)),
            report_url="http://mlflow.test/#/experiments/1/runs/2",
            cooldown_until=AT + timedelta(hours=1),
        )
    )
    for line in (
        "# Breached: drift of churn, champion 3",
        "1 of 2 columns drifted",
        "- Done about it: held by patience",
        "- Window: (2026-04-04 08:00, 2026-05-04 08:00] UTC",
        "- Rows: 12,345",
        "- Breaches in a row: 1 (fires at 2)",
        "- Cools down until 2026-05-04 09:00 UTC",
        "| spend | **yes** | 0.512 | 0.1 | psi | moved |",
        "| age | no |  |  |  | moved |",
        "[Report in MLflow](http://mlflow.test/#/experiments/1/runs/2)",
    ):
        assert line in page.splitlines()


def test_values_of_the_data_are_no_markup() -> None:
    page = evaluation_markdown(evaluation(columns=(column("a|b", reason="'<b>*x*</b>\n| y'"),)))
    assert "| a\\|b | **yes** | 0.512 | 0.1 | psi | '\\<b\\>\\*x\\*\\</b\\> \\| y' |" in page.splitlines()


def test_a_metric_has_its_interval_and_says_if_it_is_estimated() -> None:
    metric = MetricScore(
        metric="roc_auc",
        value=0.7,
        low=0.68,
        high=0.72,
        baseline=0.8,
        limit=0.76,
        labels=1_000,
        estimated=True,
    )
    page = evaluation_markdown(evaluation(trigger_type=TriggerType.PERFORMANCE, metric=metric))
    assert "| roc\\_auc (estimated) | 0.7 | 0.68 to 0.72 | 0.76 | 0.8 | 1,000 |" in page.splitlines()


def test_very_many_columns_are_cut() -> None:
    page = evaluation_markdown(evaluation(columns=tuple(column(f"c{n}") for n in range(MAX_ROWS + 7))))
    assert "| and 7 more | | | | | |" in page.splitlines()
    assert page.count("**yes**") == MAX_ROWS
