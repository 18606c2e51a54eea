"""Which rows train and which rows judge, and whether a champion may be judged by them.

By entity: an entity's side follows from a hash of its id, the same in every job, so a champion of the past
never trained on an entity that judges it today. By time: the newest rows judge, and training rows whose
label window reaches into their time are dropped: "purging", M. Lopez de Prado, Advances in Financial Machine
Learning (2018), ch. 7.4.1. Neither side ever holds a row of the other, and no tie of time is cut in two.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never, cast

import polars as pl
from pydantic import TypeAdapter, ValidationError

from retraining.catalog.policy import EntityHoldout, Holdout, TimeHoldout
from retraining.catalog.spec import ModelSpec
from retraining.errors import DataProblem, InsufficientTrainingData
from retraining.registry.values import DataFingerprint, ModelVersion
from retraining.training.inputs import Classes, check_classes, classes_of, drop_unlabelled, naive_utc

MIN_SIDE_ROWS = 10
"""A side with fewer rows says nothing, whatever the specification's own minimum is."""
_HASH_SPACE = float(2**64)
_HOLDOUT: TypeAdapter[EntityHoldout | TimeHoldout] = TypeAdapter(Holdout)


@dataclass(frozen=True)
class Split:
    """A training set cut into the rows that train and the rows that judge; both in the source's order."""

    train: pl.DataFrame
    holdout: pl.DataFrame
    description: str
    """How it was cut, for people."""
    holdout_start: datetime | None
    """Time of the first held-out row (UTC) where the newest rows judge; None for a split by entity."""
    classes: Classes
    """The training side's classes in sorted order; empty for a regression."""

    def judging(self) -> "Split":
        """The same without the rows that trained: what is needed of a split once the training is done."""
        return replace(self, train=self.train.clear())


def split(frame: pl.DataFrame, spec: ModelSpec) -> Split:
    """Cut a training set by the specification's rule. Rows without a label are left out first.

    The same rows give the same sides in every process and on every machine.

    Raises:
        InsufficientTrainingData: fewer labelled rows than the specification's minimum.
        DataProblem: a side is too small or has one class only, or an entity or time is null.
    """
    labelled = drop_unlabelled(frame, spec)
    if labelled.height < spec.min_rows:
        raise InsufficientTrainingData(labelled.height, spec.min_rows)
    match spec.holdout:
        case EntityHoldout():
            train, holdout, description = _by_entity(labelled, spec, spec.holdout)
            start = None
        case TimeHoldout():
            train, holdout, description, start = _by_time(labelled, spec, spec.holdout)
        case _:
            assert_never(spec.holdout)
    if labelled.height < frame.height:
        description += f"; {frame.height - labelled.height:,} rows without a label left out"
    classes = classes_of(train, spec)
    for side, rows in (("training side", train), ("holdout", holdout)):
        if rows.height < MIN_SIDE_ROWS:
            raise DataProblem(
                spec.source.describe(),
                f"the {side} has {rows.height} of {labelled.height:,} rows, needs {MIN_SIDE_ROWS} "
                f"({description})",
            )
    check_classes(classes, spec, "training side")
    check_classes(classes_of(holdout, spec), spec, "holdout")
    return Split(train, holdout, description, start, classes)


def holdout_record(spec: ModelSpec, classes: Classes) -> str:
    """What a version keeps of how it was judged: canonical JSON of the rule, with the classes if any."""
    record: dict[str, Any] = spec.holdout.model_dump(mode="json")
    if classes:
        record["classes"] = list(classes)
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def recorded_classes(record: str | None) -> Classes:
    """The classes that a `holdout_record` keeps; none of a regression, or if it cannot be read."""
    try:
        classes = () if record is None else _parse_record(record)[1]
    except ValueError:
        return ()
    return cast("Classes", classes or ())


def recorded_rule(record: str | None) -> EntityHoldout | TimeHoldout | None:
    """The rule that a `holdout_record` keeps; None if it cannot be read."""
    try:
        return None if record is None else _parse_record(record)[0]
    except ValueError:
        return None


def held_out(frame: pl.DataFrame, rule: EntityHoldout, spec: ModelSpec) -> pl.DataFrame:
    """The rows of entities that the rule holds out: no version under this rule ever trained on them.

    Raises:
        DataProblem: a row has no entity.
    """
    return frame.filter(_judges(_entity_texts(frame, spec, rule), rule))


def leak_reason(
    champion: ModelVersion, fingerprint: DataFingerprint, parts: Split, spec: ModelSpec
) -> str | None:
    """Why the champion cannot be judged fairly on this holdout against this challenger, or None.

    Both fingerprints are those of the rows that trained (`Split.train`), not of the whole window. Unfair is:
    a champion trained on newer rows than the challenger (a replay of the past), on rows of the holdout or
    rows whose labels reach into its time, under another entity rule, for other classes, or nobody knows
    on what.
    """
    name = f"version {champion.version}"
    if champion.fingerprint is None or champion.holdout is None:
        return f"{name} keeps no record of the rows that trained it, so it may have seen the holdout"
    trained_until = champion.fingerprint.end.astimezone(UTC)
    if trained_until > fingerprint.end.astimezone(UTC):
        return (
            f"{name} was trained on rows until {_moment(trained_until)}, newer than this challenger's "
            f"({_moment(fingerprint.end)}): an older replay does not replace it"
        )
    try:
        rule, classes = _parse_record(champion.holdout)
    except ValueError as exc:
        return f"{name} keeps a holdout rule that cannot be read ({exc})"
    if classes is not None and classes != tuple(parts.classes):
        return f"{name} predicts the classes {_listed(classes)}, this challenger {_listed(parts.classes)}"
    seen = _seen(rule, trained_until, parts.holdout_start, spec)
    return None if seen is None else f"{name} was trained {seen}"


def _seen(
    rule: EntityHoldout | TimeHoldout, trained_until: datetime, start: datetime | None, spec: ModelSpec
) -> str | None:
    """What a champion has seen of this holdout, or None."""
    if isinstance(spec.holdout, EntityHoldout):
        if rule == spec.holdout:
            return None
        return (
            f"under another holdout rule ({_rule(rule)}; now {_rule(spec.holdout)}), "
            "so it has seen entities that would judge it"
        )
    if start is None:
        raise ValueError("a split by time says when its holdout starts")
    if _ends_before(trained_until, spec.label_delay, start):
        return None
    return (
        f"on rows until {_moment(trained_until)}, whose labels reach into the holdout "
        f"that starts {_moment(start)}"
    )


def entity_side(entity: object, rule: EntityHoldout) -> bool:
    """Whether this entity is held out. Depends on the id's text and the rule's salt alone."""
    digest = hashlib.blake2b(f"{rule.salt}\x00{entity}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _HASH_SPACE < rule.fraction


def _by_entity(
    frame: pl.DataFrame, spec: ModelSpec, rule: EntityHoldout
) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    entities = _entity_texts(frame, spec, rule)
    judges = _judges(entities, rule)
    train, holdout = frame.filter(~judges), frame.filter(judges)
    description = (
        f"{entities.filter(judges).n_unique():,} of {entities.n_unique():,} {rule.column} held out by hash: "
        f"{holdout.height:,} rows judge, {train.height:,} train"
    )
    return train, holdout, description


def _judges(entities: pl.Series, rule: EntityHoldout) -> pl.Series:
    distinct = entities.unique()
    held = distinct.filter(pl.Series([entity_side(entity, rule) for entity in distinct], dtype=pl.Boolean))
    return entities.is_in(held.implode())


def _entity_texts(frame: pl.DataFrame, spec: ModelSpec, rule: EntityHoldout) -> pl.Series:
    """Ids as text, so that 7 is the same customer as an integer, as 7.0 and as "7"."""
    ids = frame[rule.column]
    if ids.null_count():
        raise DataProblem(
            spec.source.describe(),
            f"{ids.null_count():,} rows have no {rule.column}, which says whether they train or judge",
        )
    if ids.dtype.is_float() and bool((ids % 1 == 0).all()):
        ids = ids.cast(pl.Int64)
    return ids.cast(pl.String)


def _by_time(
    frame: pl.DataFrame, spec: ModelSpec, rule: TimeHoldout
) -> tuple[pl.DataFrame, pl.DataFrame, str, datetime]:
    column = spec.time_column
    times = frame.select(naive_utc(pl.col(column), frame.schema[column])).to_series()
    if times.null_count():
        raise DataProblem(spec.source.describe(), f"{times.null_count():,} rows have no {column}")
    start = _holdout_start(times, rule.fraction)
    if start is None:
        raise DataProblem(
            spec.source.describe(),
            f"all {frame.height:,} rows have the same {column}, so none are newest; "
            "hold out by entity instead",
        )
    judges = times >= start
    trains = _trains(times, spec.label_delay, start)
    if times.is_sorted():
        # The rows that train come first: a slice copies nothing. The holdout is a copy, so that it does not
        # keep all rows in memory for as long as it is needed itself.
        train, holdout = frame.head(int(trains.sum())), frame.filter(judges)
    else:
        train, holdout = frame.filter(trains), frame.filter(judges)
    description = (
        f"newest {holdout.height / frame.height:.0%} by {column} held out, from {_moment(start)} on: "
        f"{holdout.height:,} rows judge, {train.height:,} train"
    )
    dropped = frame.height - train.height - holdout.height
    if dropped:
        description += f"; {dropped:,} dropped, their labels reach into the holdout's time"
    return train, holdout, description, start.replace(tzinfo=UTC)


def _holdout_start(times: pl.Series, fraction: float) -> datetime | None:
    """The first time of the holdout: of all cuts between distinct times, the one nearest to the fraction."""
    ordered = times.sort()
    rows, ticks = len(ordered), ordered.to_physical()
    near = ticks[min(int(rows * (1 - fraction)), rows - 1)]
    cuts = [ticks.search_sorted(near, side) for side in ("left", "right")]
    cuts = [cut for cut in cuts if 0 < cut < rows]  # the others would leave no training, or no holdout
    if not cuts:
        return None
    return ordered[min(cuts, key=lambda cut: abs((rows - cut) / rows - fraction))]  # type: ignore[no-any-return]  # a datetime


def _trains(times: pl.Series, label_delay: timedelta, start: datetime) -> pl.Series:
    """Rows before the holdout whose labels were complete when it started (`_ends_before`, in polars)."""
    return (times < start) & (times + label_delay <= start)


def _ends_before(last: datetime, label_delay: timedelta, start: datetime) -> bool:
    return last < start and last + label_delay <= start


def _parse_record(text: str) -> tuple[EntityHoldout | TimeHoldout, tuple[object, ...] | None]:
    """The rule and the classes of a `holdout_record`. Raises ValueError."""
    record = json.loads(text)
    if not isinstance(record, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the caller catches what json raises: ValueError
    classes = record.pop("classes", None)
    try:
        return _HOLDOUT.validate_python(record), None if classes is None else tuple(classes)
    except ValidationError as exc:
        raise ValueError(exc.errors()[0]["msg"]) from exc


def _rule(rule: EntityHoldout | TimeHoldout) -> str:
    match rule:
        case EntityHoldout():
            return f"{rule.fraction:g} of {rule.column}, salt {rule.salt!r}"
        case TimeHoldout():
            return f"newest {rule.fraction:g} of the rows"
        case _:
            assert_never(rule)


def _listed(classes: tuple[object, ...] | Classes) -> str:
    return ", ".join(map(str, classes)) or "of no classification"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
