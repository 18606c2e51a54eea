"""May a breach fire? Patience and cooldown, from the last recorded evaluation alone. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from retraining.triggers.condition import MonitorCondition
from retraining.triggers.duration import duration_text
from retraining.triggers.evaluation import Action, Evaluation, Finding, Outcome


@dataclass(frozen=True)
class Firing:
    """What is done about a finding, and why."""

    action: Action
    reason: str
    patience_count: int
    in_cooldown: bool
    cooldown_until: datetime | None
    last_fired_at: datetime | None


def decide_firing(
    condition: MonitorCondition, finding: Finding, latest: Evaluation | None, *, at: datetime, enabled: bool
) -> Firing:
    """Decide whether a finding starts a job.

    Breaches count in a row, against one champion: a check that found nothing, and a new champion, start the
    count anew; a check that could not judge leaves it. After firing the count starts anew too.
    """
    fired_at = None if latest is None else latest.last_fired_at
    until = None if fired_at is None else fired_at + condition.cooldown
    cooling = until is not None and at < until
    count = _count(finding, latest)

    def firing(action: Action, reason: str, *, fired: datetime | None = fired_at) -> Firing:
        return Firing(action, reason, count, cooling, until if cooling else None, fired)

    if not finding.breached:
        return firing(Action.NONE, finding.reason)
    if not enabled:
        return firing(Action.DISABLED, f"{finding.reason}; the trigger is disabled")
    if count < condition.patience:
        return firing(
            Action.HELD_BY_PATIENCE,
            f"{finding.reason}; breach {count} in a row, fires at {condition.patience}",
        )
    if cooling:
        assert until is not None
        left = duration_text(timedelta(seconds=round((until - at).total_seconds())))
        return firing(
            Action.HELD_BY_COOLDOWN, f"{finding.reason}; fired before, cools down for another {left}"
        )
    return firing(Action.FIRED, finding.reason, fired=at)


def _count(finding: Finding, latest: Evaluation | None) -> int:
    before = 0
    if latest is not None and latest.action is not Action.FIRED:
        # A check that failed, or somebody else's monitor, may not know the champion.
        champions = {finding.champion_version, latest.champion_version} - {None}
        before = latest.patience_count if len(champions) < 2 else 0
    match finding.outcome:
        case Outcome.BREACHED:
            return before + 1
        case Outcome.QUIET:
            return 0
        case Outcome.NOT_JUDGED | Outcome.FAILED:
            return before
