"""When triggers are due next, remembered until the first of those times is over."""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from retraining.errors import InvalidCondition
from retraining.triggers.calendar import calendar_of, next_runs
from retraining.triggers.condition import parse_condition
from retraining.triggers.trigger import RetrainingTrigger

logger = logging.getLogger(__name__)

SHOWN_RUNS = 5
REMEMBERED = 10_000
"""Calendars; beyond them the one that was used longest ago is forgotten."""


class UpcomingRuns:
    """The next runs of triggers. Listing a thousand triggers every second computes few of them."""

    def __init__(
        self, compute: Callable[[Mapping[str, Any], datetime, int], Sequence[datetime]] = next_runs
    ) -> None:
        self._compute = compute
        self._known: OrderedDict[str, tuple[datetime, Sequence[datetime]]] = OrderedDict()

    def of(self, trigger: RetrainingTrigger, now: datetime) -> Sequence[datetime]:
        """The next five, soonest first; none while it is disabled."""
        if not trigger.enabled:
            return ()
        every = trigger.trigger_condition.get("every") or trigger.trigger_condition.get("check_every")
        # Those that count from their trigger's creation are its own, all others are shared.
        key = json.dumps([trigger.trigger_condition, trigger.created_at.isoformat() if every else None])
        known = self._known.pop(key, None)
        if known is None or now < known[0] or any(run <= now for run in known[1][:1]):
            known = (now, self._next(trigger, now))
        self._known[key] = known
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known[1]

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
