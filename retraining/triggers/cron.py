"""Cron expressions: whether one is valid, and when it is due next."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError


def check_cron(expression: str) -> None:
    """Accept a cron expression of five fields that is due some day.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if len(expression.split()) != 5:
        raise ValueError("has five fields: minute, hour, day of month, month, day of week")
    try:
        next(CronSim(expression, datetime.now(UTC)))
    except (CronSimError, StopIteration) as exc:
        raise ValueError(f"{expression!r} is no cron expression, or never due: {exc}") from exc
