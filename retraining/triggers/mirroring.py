"""What is to be done so that the table of triggers and Prefect say the same. Pure: no SQL, no Prefect.

Of triggers made through the facade the table is the truth about what there is, because deploying again drops
their schedules in Prefect; of schedules that people made in Prefect, Prefect is. Whether one is enabled, and
when it is due, follows whoever changed it last.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from retraining.errors import InvalidCondition
from retraining.jobs.job import TriggerType
from retraining.orchestrator.values import ScheduleSeen, TriggersSeen
from retraining.triggers.calendar import calendar_of
from retraining.triggers.condition import parse_condition
from retraining.triggers.duration import parse_duration
from retraining.triggers.trigger import STALE, RetrainingTrigger, TriggerPhase

LATE = timedelta(minutes=10)
"""After so long no order of an abandoned creation reaches Prefect any more."""


@dataclass(frozen=True)
class Appear:
    """Write down a schedule that people made."""

    schedule: ScheduleSeen


@dataclass(frozen=True)
class Follow:
    """Write down what changed in Prefect."""

    trigger: RetrainingTrigger
    enabled: bool
    condition: Mapping[str, Any]
    paused: bool = False


@dataclass(frozen=True)
class Vanish:
    """Write down that a schedule that people made is gone."""

    trigger: RetrainingTrigger


@dataclass(frozen=True)
class Put:
    """Make Prefect hold a trigger as the table says, or as it will say."""

    trigger: RetrainingTrigger
    enabled: bool


@dataclass(frozen=True)
class Remove:
    """Remove in Prefect what there is of a trigger, and here."""

    trigger: RetrainingTrigger


@dataclass(frozen=True)
class Forget:
    """Delete the row of a trigger whose creation failed, and which Prefect does not have."""

    trigger: RetrainingTrigger


Action = Appear | Follow | Vanish | Put | Remove | Forget


@dataclass(frozen=True)
class Mirroring:
    """What one comparison led to."""

    actions: tuple[Action, ...]
    suspects: frozenset[UUID] = frozenset()
    """Incomplete in Prefect for the first time; if they are the next time too, a person deleted them."""
    strangers: frozenset[UUID] = frozenset()
    """Prefect holds triggers of these ids, which the table never had or has lost. They are left alone."""


@dataclass(frozen=True)
class _Seen:
    """What Prefect holds, by trigger."""

    ours: Mapping[UUID, ScheduleSeen]
    theirs: Mapping[UUID, ScheduleSeen]
    automations: Mapping[UUID, bool]
    deployed_at: Mapping[str, datetime]
    redeployed: Set[str] = field(default_factory=set)

    def holds(self, trigger_id: UUID) -> bool:
        """Whether there is anything of the trigger."""
        return trigger_id in self.ours or trigger_id in self.automations or trigger_id in self.theirs


def mirror(
    triggers: Iterable[RetrainingTrigger],
    seen: TriggersSeen,
    *,
    deployed_before: Mapping[str, datetime],
    suspects: Set[UUID],
    now: datetime,
) -> Mirroring:
    """Compare the table, read first, with Prefect, read then.

    `triggers` are all that are not deleted, and of the deleted those that Prefect holds. `deployed_before` is
    `seen.deployed_at` of the comparison before, `suspects` are those that it found.
    """
    known = {trigger.id: trigger for trigger in triggers}
    prefect = _Seen(
        ours={one.trigger_id: one for one in seen.schedules if one.trigger_id is not None},
        theirs={one.schedule_id: one for one in seen.schedules if one.trigger_id is None},
        automations=seen.automations,
        deployed_at=seen.deployed_at,
        redeployed={name for name, at in seen.deployed_at.items() if _newer(at, deployed_before.get(name))},
    )
    incomplete = frozenset(_missing_halves(known.values(), prefect))
    actions: list[Action] = []
    for trigger in known.values():
        actions += _actions(trigger, prefect, gone=trigger.id in incomplete & suspects, now=now)
    actions += [Appear(one) for one in prefect.theirs.values() if one.schedule_id not in known]
    return Mirroring(
        actions=tuple(actions),
        suspects=incomplete,
        strangers=frozenset({*prefect.ours, *prefect.automations} - known.keys()),
    )


def _newer(at: datetime, before: datetime | None) -> bool:
    # Without a memory of it, what is missing is put back: the harmless one of the two mistakes.
    return before is None or at > before


def _missing_halves(triggers: Iterable[RetrainingTrigger], prefect: _Seen) -> Iterator[UUID]:
    for trigger in triggers:
        if trigger.origin == "api" and trigger.phase is TriggerPhase.LIVE and not _complete(trigger, prefect):
            yield trigger.id


def _complete(trigger: RetrainingTrigger, prefect: _Seen) -> bool:
    return trigger.id in prefect.ours and (_scheduled(trigger) or trigger.id in prefect.automations)


def _scheduled(trigger: RetrainingTrigger) -> bool:
    return trigger.trigger_type is TriggerType.SCHEDULED


def _actions(trigger: RetrainingTrigger, prefect: _Seen, *, gone: bool, now: datetime) -> Iterator[Action]:
    age = trigger.age(now)
    theirs = trigger.origin == "prefect"
    match trigger.phase:
        case TriggerPhase.CREATING | TriggerPhase.REMOVING:
            if age > STALE:
                yield Remove(trigger)
        case TriggerPhase.ABANDONED:
            if age > STALE and prefect.holds(trigger.id):
                yield Remove(trigger)
            elif age > LATE:
                yield Forget(trigger)
        case TriggerPhase.DELETED:
            if theirs:
                yield from _follow(trigger, prefect)
            elif prefect.holds(trigger.id):
                yield Remove(trigger)
        case TriggerPhase.CHANGING:
            if age > STALE:
                yield from _follow(trigger, prefect) if theirs else [Put(trigger, trigger.enabled)]
        case TriggerPhase.LIVE:
            yield from _follow(trigger, prefect) if theirs else _keep(trigger, prefect, gone=gone)
        case _:
            assert_never(trigger.phase)


def _follow(trigger: RetrainingTrigger, prefect: _Seen) -> Iterator[Action]:
    """A schedule that people made is what Prefect says."""
    schedule = prefect.theirs.get(trigger.id)
    if schedule is None:
        if trigger.phase is not TriggerPhase.DELETED:
            yield Vanish(trigger)
        return
    seen = (schedule.active, dict(schedule.condition), schedule.paused_with_deployment)
    if seen != _known(trigger) or trigger.phase is not TriggerPhase.LIVE:
        yield Follow(trigger, *seen)


def _known(trigger: RetrainingTrigger) -> tuple[bool, Mapping[str, Any], bool]:
    return trigger.enabled, trigger.trigger_condition, trigger.paused


def _keep(trigger: RetrainingTrigger, prefect: _Seen, *, gone: bool) -> Iterator[Action]:
    """A trigger of ours stays as it is, but for what people did to it in Prefect."""
    needed = {f"retrain/{trigger.model_name}"}
    if not _scheduled(trigger):
        needed.add(f"monitor/{trigger.model_name}")
    if not _complete(trigger, prefect):
        # Without the deployment there is nothing to put it on; when there is one again, it is a new one.
        if needed <= prefect.deployed_at.keys():
            if needed & prefect.redeployed:
                yield Put(trigger, trigger.enabled)
            elif gone:
                yield Remove(trigger)
        return
    schedule = prefect.ours[trigger.id]
    automation = prefect.automations[trigger.id] if not _scheduled(trigger) else True
    if schedule.active and not automation:
        # Checks that could start nothing. One half of two that were alike is what somebody switched.
        yield Put(trigger, not trigger.enabled)
        return
    enabled = schedule.active and automation
    seen = (enabled, _followed(trigger, schedule.condition), schedule.paused_with_deployment)
    if seen != _known(trigger):
        yield Follow(trigger, *seen)


def _followed(trigger: RetrainingTrigger, calendar: Mapping[str, Any]) -> Mapping[str, Any]:
    """The condition with what somebody changed of its times in Prefect, if a condition can say it."""
    kept = trigger.trigger_condition
    try:
        ours = calendar_of(parse_condition(trigger.trigger_type, kept), trigger.created_at)
        if _same_times(ours, calendar):
            return kept
        changes = _times(calendar, scheduled=_scheduled(trigger))
        if not changes:
            return kept
        return parse_condition(trigger.trigger_type, {**kept, **changes}).model_dump(mode="json")
    except (InvalidCondition, ValueError):
        return kept


def _times(calendar: Mapping[str, Any], *, scheduled: bool) -> dict[str, Any]:
    """A calendar in the words of a condition; empty if it has none for it."""
    every, cron = calendar.get("every"), calendar.get("cron")
    if every and not scheduled:
        return {"check_every": every}
    if every:
        return {"cron": None, "timezone": "UTC", "every": every}
    if cron and scheduled:
        return {"cron": cron, "timezone": calendar.get("timezone") or "UTC", "every": None}
    return {}


def _same_times(ours: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    if ours.get("every") and seen.get("every"):
        return bool(parse_duration(ours["every"]) == parse_duration(seen["every"]))
    zones = (ours.get("timezone") or "UTC", seen.get("timezone") or "UTC")
    return ours.get("cron") == seen.get("cron") and zones[0] == zones[1]
