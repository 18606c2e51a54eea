"""When triggers are due next, remembered until the first of those times is over."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from retraining.errors import InvalidCondition
from retraining.triggers.calendar import calendar_of, next_runs
from retraining.triggers.condition import parse_condition
from retraining.triggers.trigger import RetrainingTrigger

logger = logging.getLogger(__name__)

SHOWN_RUNS = 5
REMEMBERED = 10_000
"""Triggers; beyond them the one that was used longest ago is forgotten."""


@dataclass(frozen=True)
class _Known:
    updated_at: datetime
    computed_at: datetime
    runs: Sequence[datetime]

    def holds(self, trigger: RetrainingTrigger, now: datetime) -> bool:
        """Whether the trigger is still the same, and none of these times is over."""
        over = bool(self.runs) and self.runs[0] <= now
        return self.updated_at == trigger.updated_at and self.computed_at <= now and not over


class UpcomingRuns:
    """The next runs of triggers. Listing a thousand triggers every second computes few of them."""

    def __init__(
        self, compute: Callable[[Mapping[str, Any], datetime, int], Sequence[datetime]] = next_runs
    ) -> None:
        self._compute = compute
        self._known: OrderedDict[UUID, _Known] = OrderedDict()

    def of(self, trigger: RetrainingTrigger, now: datetime) -> Sequence[datetime]:
        """The next five, soonest first; none while it is disabled."""
        if not trigger.enabled or trigger.paused:
            return ()
        known = self._known.pop(trigger.id, None)
        if known is None or not known.holds(trigger, now):
            known = _Known(trigger.updated_at, now, self._next(trigger, now))
        self._known[trigger.id] = known
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known.runs

    def _next(self, trigger: RetrainingTrigger, now: datetime) -> Sequence[datetime]:
        try:
            return tuple(self._compute(_calendar(trigger), now, SHOWN_RUNS))
        except (ValueError, InvalidCondition):
            # A schedule that people made may hold what nobody can read; it is listed all the same.
            logger.warning("no next runs for a trigger", extra={"trigger_id": str(trigger.id)}, exc_info=True)
            return ()


def _calendar(trigger: RetrainingTrigger) -> Mapping[str, Any]:
    if trigger.origin == "prefect":
        return trigger.trigger_condition
    return calendar_of(parse_condition(trigger.trigger_type, trigger.trigger_condition), trigger.created_at)
