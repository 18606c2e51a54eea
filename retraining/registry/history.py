"""Who was champion when, as tags of the registered model. Pure: no MLflow in here.

A **record** is a change of champion that happened: one tag, written once, under a key of its own. An
**intent** is a change that somebody has begun: written before the aliases move and removed after the record
is there, so that a crash in between can be told apart from a move made in MLflow itself, and finished.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from retraining.registry.values import Promotion

CHAMPION = "champion"
PREVIOUS = "previous"
RECORD_PREFIX = "retraining.promotion."
INTENT_PREFIX = "retraining.promoting."
MAX_VALUE_LENGTH = 5_000
"""MLflow takes longer values over REST, its databases keep VARCHAR(5000)."""
MAX_BY_LENGTH = 250
ELLIPSIS = "…"


@dataclass(frozen=True)
class ModelState:
    """The aliases of a registered model and the history in its tags, as one read showed them."""

    model_name: str
    aliases: Mapping[str, str]
    """Versions by alias."""
    records: Sequence[Promotion]
    """Newest first."""
    intents: Mapping[str, Promotion]
    """By tag key."""

    @property
    def champion(self) -> str | None:
        """The version that serves."""
        return self.aliases.get(CHAMPION)

    @property
    def previous(self) -> str | None:
        """The roll-back target."""
        return self.aliases.get(PREVIOUS)

    @property
    def recorded_champion(self) -> str | None:
        """The champion by the records, which the alias may have left behind."""
        return self.records[0].version if self.records else None

    @property
    def agrees(self) -> bool:
        """Whether the alias is where the newest record says."""
        return self.champion == self.recorded_champion

    def next_time(self, now: datetime) -> datetime:
        """When the next change happened: now, but after the newest record, whatever other clocks said."""
        newest = self.records[0].at if self.records else None
        return now if newest is None or now > newest else newest + timedelta(microseconds=1)

    def interrupted(self, intents: Iterable[Promotion]) -> Promotion | None:
        """The change among these that moved the alias and was never recorded, if there is one."""
        if self.agrees:
            return None
        moved = [intent for intent in intents if intent.version == self.champion]
        newest = max(moved, key=lambda intent: intent.at, default=None)
        return None if newest is None else replace(newest, at=self.next_time(newest.at))

    def outside_move(self, now: datetime) -> Promotion | None:
        """The change that nobody recorded, if the alias points elsewhere than the records and intents say."""
        if self.champion is None or self.agrees:
            return None
        return Promotion(
            model_name=self.model_name,
            version=self.champion,
            previous=self.recorded_champion,
            kind="outside",
            at=self.next_time(now),
            by="unknown",
            reason="the champion alias was moved in MLflow itself",
        )

    def history(self, now: datetime) -> list[Promotion]:
        """Every change, newest first, with the one that was interrupted or made outside, if there is one."""
        unrecorded = self.interrupted(self.intents.values()) or self.outside_move(now)
        return [*self.records] if unrecorded is None else [unrecorded, *self.records]


def read_state(model_name: str, aliases: Mapping[str, str], tags: Mapping[str, str]) -> ModelState:
    """The state in a registered model's aliases and tags; unreadable tags are left out."""
    records = [record for _, record in _read(model_name, tags, RECORD_PREFIX)]
    return ModelState(
        model_name=model_name,
        aliases={alias: str(version) for alias, version in aliases.items()},
        records=sorted(records, key=lambda record: record.at, reverse=True),
        intents=dict(_read(model_name, tags, INTENT_PREFIX)),
    )


def record_tag(promotion: Promotion) -> tuple[str, str]:
    """The tag (key, value) of a change; keys sort by time."""
    return f"{RECORD_PREFIX}{promotion.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.{promotion.version}", _value(
        promotion
    )


def intent_tag(promotion: Promotion, nonce: str) -> tuple[str, str]:
    """The tag (key, value) of a change that is beginning; the nonce keeps two writers apart."""
    return f"{INTENT_PREFIX}{nonce}", _value(promotion)


def _value(promotion: Promotion) -> str:
    facts = {
        "version": promotion.version,
        "previous": promotion.previous,
        "kind": promotion.kind,
        "at": promotion.at.astimezone(UTC).isoformat(),
        "by": shortened(promotion.by, MAX_BY_LENGTH),
        "job_id": promotion.job_id,
    }

    def with_reason_of(length: int) -> str:
        return json.dumps({**facts, "reason": shortened(promotion.reason, length)}, ensure_ascii=False)

    # How long a reason gets in JSON depends on its quotes and line breaks: seek the longest that fits.
    fitting = bisect_right(
        range(len(promotion.reason) + 1), MAX_VALUE_LENGTH, key=lambda n: len(with_reason_of(n))
    )
    return with_reason_of(fitting - 1)


def shortened(text: str, length: int) -> str:
    """The text in at most `length` characters, the last an ellipsis if something is missing."""
    return text if len(text) <= length else text[: max(length - 1, 0)] + ELLIPSIS


def _read(model_name: str, tags: Mapping[str, str], prefix: str) -> list[tuple[str, Promotion]]:
    found = []
    for key, value in tags.items():
        if not key.startswith(prefix):
            continue
        try:
            facts = json.loads(value)
            promotion = Promotion(
                model_name=model_name,
                version=str(facts["version"]),
                previous=facts["previous"],
                kind=facts["kind"],
                at=datetime.fromisoformat(facts["at"]).astimezone(UTC),
                by=str(facts["by"]),
                reason=str(facts["reason"]),
                job_id=facts["job_id"],
            )
        except (ValueError, KeyError, TypeError):  # edited by hand: not worth losing the rest for
            continue
        found.append((key, promotion))
    return found
