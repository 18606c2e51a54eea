"""An evaluation as a page for people: the verdict in a sentence, and the columns in a table."""

from retraining.triggers.evaluation import Action, ColumnScore, Evaluation, MetricScore, Outcome

MAX_ROWS = 200

_HEADINGS = {
    Outcome.QUIET: "Quiet",
    Outcome.BREACHED: "Breached",
    Outcome.NOT_JUDGED: "Not judged",
    Outcome.FAILED: "The check failed",
}
_DONE = {
    Action.NONE: "nothing",
    Action.FIRED: "a retraining job was asked for",
    Action.HELD_BY_PATIENCE: "held by patience",
    Action.HELD_BY_COOLDOWN: "held by the cooldown",
    Action.DISABLED: "nothing, the trigger is disabled",
}


def evaluation_markdown(evaluation: Evaluation) -> str:
    """The evaluation in Markdown."""
    version = "" if evaluation.champion_version is None else f", champion {evaluation.champion_version}"
    lines = [
        f"# {_HEADINGS[evaluation.outcome]}: {evaluation.trigger_type} of {evaluation.model_name}{version}",
        plain_markdown(evaluation.reason),
        _facts(evaluation),
    ]
    if evaluation.metric is not None:
        lines.append(_metric_table(evaluation.metric))
    if evaluation.columns:
        lines.append(_column_table(evaluation.columns))
    if evaluation.report_url is not None:
        lines.append(f"[Report in MLflow]({evaluation.report_url})")
    return "\n\n".join(lines) + "\n"


def _facts(evaluation: Evaluation) -> str:
    facts = [f"- Done about it: {_DONE[evaluation.action]}"]
    if evaluation.window_end is not None:
        start = evaluation.window_start
        since = "the beginning" if start is None else f"{start:%Y-%m-%d %H:%M}"
        facts.append(f"- Window: ({since}, {evaluation.window_end:%Y-%m-%d %H:%M}] UTC")
    if evaluation.rows is not None:
        facts.append(f"- Rows: {evaluation.rows:,}")
    facts.append(f"- Breaches in a row: {evaluation.patience_count} (fires at {evaluation.patience})")
    if evaluation.cooldown_until is not None:
        facts.append(f"- Cools down until {evaluation.cooldown_until:%Y-%m-%d %H:%M} UTC")
    return "\n".join(facts)


def _metric_table(metric: MetricScore) -> str:
    estimated = " (estimated)" if metric.estimated else ""
    interval = "" if metric.low is None or metric.high is None else f"{metric.low:.4g} to {metric.high:.4g}"
    return "\n".join(
        [
            "| metric | value | 95% interval | limit | champion's holdout | labels |",
            "|---|---:|---|---:|---:|---:|",
            f"| {_cell(metric.metric)}{estimated} | {metric.value:.4g} | {interval} | {metric.limit:.4g} "
            f"| {_figure(metric.baseline)} | {metric.labels:,} |",
        ]
    )


def _column_table(columns: tuple[ColumnScore, ...]) -> str:
    rows = [
        "| column | drifted | score | threshold | method | what happened |",
        "|---|---|---:|---:|---|---|",
    ]
    rows += [
        f"| {_cell(column.column)} | {'**yes**' if column.drifted else 'no'} | {_figure(column.score)} "
        f"| {_figure(column.threshold)} | {column.method or ''} | {_cell(column.reason)} |"
        for column in columns[:MAX_ROWS]
    ]
    if len(columns) > MAX_ROWS:
        rows.append(f"| and {len(columns) - MAX_ROWS:,} more | | | | | |")
    return "\n".join(rows)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _cell(text: str) -> str:
    return plain_markdown(text).replace("|", "\\|")


def plain_markdown(text: str) -> str:
    """One line, of which nothing is taken for markup: values of the data come in it."""
    escaped = "".join(f"\\{sign}" if sign in "\\`*_[]<>#" else sign for sign in text)
    return " ".join(escaped.split())
