"""Triggers as code: what makes the triggers that there are those that a file declares. Pure."""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from retraining.errors import InvalidCondition
from retraining.jobs.job import TriggerType
from retraining.triggers.condition import parse_condition


@dataclass(frozen=True, kw_only=True)
class _Described:
    model_name: str
    trigger_type: TriggerType
    condition: Mapping[str, Any]
    """As JSON."""
    enabled: bool

    @property
    def kind(self) -> tuple[str, TriggerType]:
        """Model and type, which a change keeps."""
        return self.model_name, self.trigger_type

    @property
    def meaning(self) -> Hashable:
        """The same for `30d` and `720h`, and whether a default was written out or not."""
        return *self.kind, json.dumps(whole_condition(self.trigger_type, self.condition), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Declared(_Described):
    """A trigger that the file wants."""

    line: int = field(compare=False)
    """Where it stands in the file."""


@dataclass(frozen=True, kw_only=True)
class Held(_Described):
    """A trigger that there is."""

    id: UUID
    created_at: datetime


@dataclass(frozen=True)
class Change:
    """A trigger that stays, with its history, and becomes what is declared."""

    held: Held
    declared: Declared

    @property
    def fields(self) -> Mapping[str, Any]:
        """What is to change, as `PATCH /triggers/{id}` takes it."""
        return self._of(self.declared)

    @property
    def fields_before(self) -> Mapping[str, Any]:
        """What takes the change back."""
        return self._of(self.held)

    def _of(self, side: _Described) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if self.held.meaning != self.declared.meaning:
            fields["trigger_condition"] = dict(side.condition)
        if self.held.enabled != self.declared.enabled:
            fields["enabled"] = side.enabled
        return fields


@dataclass(frozen=True)
class Plan:
    """What is to be done, in the order of the file; deletions oldest first."""

    create: Sequence[Declared]
    change: Sequence[Change]
    delete: Sequence[Held]
    unchanged: int

    @property
    def empty(self) -> bool:
        """Whether all is as declared."""
        return not (self.create or self.change or self.delete)


def plan_triggers(declared: Sequence[Declared], held: Iterable[Held]) -> Plan:
    """Compare what is declared with what there is.

    Triggers have no names, so they are matched by what they are. Those that mean the same are matched first:
    they stay, at most switched on or off. What is left of one model and type is paired in order, the file's
    against the oldest first, and changed. The rest is created or deleted.
    """
    oldest_first = sorted(held, key=lambda one: (one.created_at, one.id))
    same, others, left = _paired(declared, oldest_first, lambda one: (one.meaning, one.enabled))
    switched, others, left = _paired(others, left, lambda one: one.meaning)
    changed, new, gone = _paired(others, left, lambda one: one.kind)
    changes = [Change(there, wanted) for wanted, there in switched + changed]
    changes.sort(key=lambda change: change.declared.line)
    return Plan(create=new, change=changes, delete=gone, unchanged=len(same))


def whole_condition(trigger_type: TriggerType, condition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The condition as JSON with every default; one that this release does not understand stays as it is."""
    try:
        return parse_condition(trigger_type, {**condition}).model_dump(mode="json")
    except InvalidCondition:
        return condition


def own_condition(trigger_type: TriggerType, condition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The condition as JSON without what is only a default: what a person would write."""
    try:
        return parse_condition(trigger_type, {**condition}).model_dump(mode="json", exclude_defaults=True)
    except InvalidCondition:
        return condition


def _paired(
    declared: Sequence[Declared], held: Sequence[Held], key: Callable[[_Described], Hashable]
) -> tuple[list[tuple[Declared, Held]], list[Declared], list[Held]]:
    """The pairs with the same key, each side in order, and what has no partner."""
    waiting: defaultdict[Hashable, deque[Held]] = defaultdict(deque)
    for there in held:
        waiting[key(there)].append(there)
    pairs: list[tuple[Declared, Held]] = []
    alone: list[Declared] = []
    for wanted in declared:
        partners = waiting[key(wanted)]
        if partners:
            pairs.append((wanted, partners.popleft()))
        else:
            alone.append(wanted)
    taken = {there.id for _, there in pairs}
    return pairs, alone, [there for there in held if there.id not in taken]
