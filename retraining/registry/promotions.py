"""Moving the champion: aliases and history in MLflow, safe against crashes and against each other.

MLflow has neither transactions nor compare-and-set, so a change goes in steps that can be told apart later:

1. The **intent** is written under a key of its own, and then the model is read. Whoever sees another intent
   takes its own back and waits. Of two who overlap, the one who reads later sees the other's intent, so they
   never both go on: promotions stay apart even where nobody holds the promotion lock.
2. In its turn: the champion is compared with what the caller expects, `champion` moves, then `previous`. In
   this order because readers resolve @champion only, and `previous` can be completed from the intent.
3. The **record** is written, then the intent is removed.

An intent whose writer died is finished (if the alias has moved) or dropped by the next change; until then
the history reads as if it were finished.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from retraining.errors import (
    ChampionChanged,
    NoChampion,
    NothingToRollBackTo,
    PromotionLockBusy,
    VersionNotFound,
)
from retraining.registry.connection import ABSENT, asking
from retraining.registry.history import CHAMPION, PREVIOUS, ModelState, intent_tag, read_state, record_tag
from retraining.registry.values import Promotion
from retraining.registry.versions import Versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

ABANDONED_AFTER_SECONDS = 10.0
"""An intent that stands for so long belongs to a writer that died: a change takes well under a second."""
GIVE_UP_AFTER_SECONDS = 60.0


class Promotions:
    """Promotes, rolls back, and tells who was champion when."""

    def __init__(
        self,
        client: Callable[[], "MlflowClient"],
        versions: Versions,
        abandoned_after_seconds: float = ABANDONED_AFTER_SECONDS,
        give_up_after_seconds: float = GIVE_UP_AFTER_SECONDS,
    ) -> None:
        self._client = client
        self._versions = versions
        self._abandoned_after_seconds = abandoned_after_seconds
        self._give_up_after_seconds = give_up_after_seconds

    def find_state(self, model_name: str) -> ModelState | None:
        """The aliases and the history of a model, in one request; None if MLflow does not know it."""
        from mlflow.exceptions import MlflowException

        with asking(f"read the aliases of {model_name!r}"):
            try:
                return self._get_state(model_name)
            except MlflowException as exc:
                if exc.error_code == ABSENT:
                    return None
                raise

    def history(self, model_name: str) -> list[Promotion]:
        """Every change of champion, newest first.

        A move made in MLflow itself comes first, as of now (MLflow keeps no time of it), until the next
        change of champion makes a record of it. A champion alias that was removed there leaves no trace.
        """
        state = self.find_state(model_name)
        return [] if state is None else state.history(datetime.now(UTC))

    def promote(
        self,
        model_name: str,
        version: str,
        *,
        by: str,
        reason: str,
        job_id: str | None,
        expected_champion: str | Literal["any"] | None,
    ) -> Promotion | None:
        """See `Registry.promote`."""
        state = self.find_state(model_name)
        if state is None:
            raise VersionNotFound(model_name, version)
        if state.champion == version and state.agrees and not state.intents:
            return None
        self._versions.get_stored(model_name, version)
        intent = Promotion(
            model_name=model_name,
            version=version,
            previous=state.champion,
            kind="promotion",
            at=datetime.now(UTC),
            by=by,
            reason=reason,
            job_id=job_id,
        )
        with asking(f"promote version {version} of {model_name!r}"), self._turn(intent, state) as current:
            if current.champion == version:
                return None
            if expected_champion not in ("any", current.champion):
                raise ChampionChanged(model_name, expected_champion, current.champion)
            return self._move(intent, current)

    def roll_back(self, model_name: str, *, by: str, reason: str) -> Promotion:
        """See `Registry.roll_back`. Raises ChampionChanged if the champion changes at the same time."""
        state = self.find_state(model_name)
        if state is None or state.champion is None:
            raise NoChampion(model_name)
        # MLflow removes the aliases of a version that is deleted, so a `previous` that is there exists.
        if state.previous is None or state.previous == state.champion:
            raise NothingToRollBackTo(model_name)
        intent = Promotion(
            model_name=model_name,
            version=state.previous,
            previous=state.champion,
            kind="rollback",
            at=datetime.now(UTC),
            by=by,
            reason=reason,
        )
        with asking(f"roll back {model_name!r}"), self._turn(intent, state) as current:
            if (current.champion, current.previous) != (state.champion, state.previous):
                # Two people who both want to go one step back do not want to go back and forth.
                raise ChampionChanged(model_name, state.champion, current.champion)
            return self._move(intent, current)

    def _move(self, intent: Promotion, current: ModelState) -> Promotion:
        """Steps 2 and 3, in the turn of this change."""
        model_name = intent.model_name
        promotion = replace(intent, previous=current.champion, at=current.next_time(datetime.now(UTC)))
        self._client().set_registered_model_alias(model_name, CHAMPION, promotion.version)
        self._set_previous(promotion)
        self._record(promotion)
        return promotion

    @contextmanager
    def _turn(self, intent: Promotion, state: ModelState) -> Iterator[ModelState]:
        """Step 1, and the intent's removal; yields the state with everything settled that others left.

        If the change fails half way, or nobody knows how far it went, the intent stays for the next one.
        """
        key, state = self._take_turn(intent, state)
        try:
            yield self._settle(state, key)
        except ChampionChanged:
            self._drop_intent(intent.model_name, key)
            raise
        self._drop_intent(intent.model_name, key)

    def _take_turn(self, intent: Promotion, state: ModelState) -> tuple[str, ModelState]:
        """Write the intent while there is no other; its key, and the state read after it.

        Raises:
            PromotionLockBusy: there always was another.
        """
        started = time.monotonic()
        first_seen: dict[str, float] = {}
        pause = 0.05
        while True:
            if not self._others(intent, state, first_seen):
                # A new key every time: one that stands for long is taken for a dead writer's.
                key, value = intent_tag(intent, uuid4().hex[:12])
                self._client().set_registered_model_tag(intent.model_name, key, value)
                state = self._get_state(intent.model_name)
                if not self._others(intent, state, first_seen, key):
                    return key, state
                self._drop_intent(intent.model_name, key)
            if (waited := time.monotonic() - started) > self._give_up_after_seconds:
                raise PromotionLockBusy(intent.model_name, round(waited, 1))
            time.sleep(random.uniform(0, pause))  # noqa: S311 - to meet less often, not to be secret
            pause = min(2 * pause, 1.0)
            state = self._get_state(intent.model_name)

    def _others(
        self, intent: Promotion, state: ModelState, first_seen: dict[str, float], own: str | None = None
    ) -> list[str]:
        """The keys of intents whose writers may be alive."""
        now = time.monotonic()
        alive = []
        for key, other in state.intents.items():
            if key == own:
                continue
            seen_for = now - first_seen.setdefault(key, now)
            # A job promotes once, so an intent of the same job is what its attempt before left.
            retried = intent.job_id is not None and intent.job_id == other.job_id
            if not retried and seen_for < self._abandoned_after_seconds:
                alive.append(key)
        return alive

    def _settle(self, state: ModelState, own: str) -> ModelState:
        """Finish or drop what dead writers left, and record a move made outside."""
        name = state.model_name
        abandoned = {key: intent for key, intent in state.intents.items() if key != own}
        if (record := state.interrupted(abandoned.values())) is not None:
            self._set_previous(record)
            self._record(record)
        for key in abandoned:
            self._drop_intent(name, key)
        if abandoned or not state.agrees:
            # Also because aliases and tags are two reads inside MLflow, and a change may lie between them.
            state = self._get_state(name)
        if (outside := state.outside_move(datetime.now(UTC))) is not None:
            self._record(outside)
            state = self._get_state(name)
        return state

    def _get_state(self, model_name: str) -> ModelState:
        registered = self._client().get_registered_model(model_name)
        return read_state(model_name, registered.aliases, registered.tags)

    def _set_previous(self, promotion: Promotion) -> None:
        from mlflow.exceptions import MlflowException

        if promotion.previous is None:
            return
        try:
            self._client().set_registered_model_alias(promotion.model_name, PREVIOUS, promotion.previous)
        except MlflowException as exc:
            if exc.error_code != ABSENT:  # deleted meanwhile: there is nothing to go back to
                raise

    def _record(self, promotion: Promotion) -> None:
        self._client().set_registered_model_tag(promotion.model_name, *record_tag(promotion))

    def _drop_intent(self, model_name: str, key: str) -> None:
        self._client().delete_registered_model_tag(model_name, key)
