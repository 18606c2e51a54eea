"""Breaches that external monitors report: patience, cooldown, idempotency, and what survives a crash."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from retraining.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    OrchestratorRefused,
    OrchestratorUnavailable,
    TriggerNotFound,
)
from retraining.store.database import Database
from retraining.triggers.evaluation import Action, Evaluation, Outcome
from retraining.triggers.evaluation_log import EvaluationLog, evaluation_of
from retraining.triggers.external_breaches import UNTOLD, ExternalBreaches
from retraining.triggers.repository import find_trigger
from retraining.triggers.service import TriggerService
from retraining.triggers.signal import Signal
from retraining.triggers.trigger import TriggerChange
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.triggers.evaluating import an_evaluation
from tests.triggers.making import create, evaluation_rows, fire
from tests.triggers.models import CATALOG

LATER = UNTOLD + timedelta(seconds=1)


async def test_a_signal_fires_and_says_all_that_was_said(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service)
    said = {"reason": "half of it is new", "scores": {"age": 0.4}, "payload": {"ticket": 7}}
    evaluation = await fire(service, trigger.id, by="grafana", at="2026-05-04T08:00:00Z", **said)
    assert evaluation.action is Action.FIRED
    assert (evaluation.outcome, evaluation.reason) == (Outcome.BREACHED, "half of it is new")
    assert (evaluation.source, evaluation.by, evaluation.payload) == ("external", "grafana", {"ticket": 7})
    assert [(one.column, one.score, one.drifted) for one in evaluation.columns] == [("age", 0.4, True)]
    assert evaluation.as_of == datetime(2026, 5, 4, 8, tzinfo=UTC)
    assert evaluation.last_fired_at == evaluation.at
    assert orchestrator.breaches == [evaluation]
    assert [kept for _, kept in orchestrator.kept.values()] == [evaluation]
    assert (await service.evaluations(trigger.id)).evaluations == [evaluation]


async def test_the_breach_is_announced_before_the_evaluation_is_kept(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service)
    orchestrator.calls.clear()
    await fire(service, trigger.id)
    assert orchestrator.calls == ["latest_evaluation", "announce_breach", "keep_evaluation"]


async def test_patience_and_cooldown_hold_it_as_they_hold_a_check(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service, condition={"patience": 2, "cooldown": "1d"})
    actions = [(await fire(service, trigger.id)).action for _ in range(4)]
    assert actions == ["held_by_patience", "fired", "held_by_patience", "held_by_cooldown"]
    assert len(orchestrator.breaches) == 1
    assert len(orchestrator.kept) == 4


async def test_signals_and_checks_count_together(service: TriggerService, orchestrator: FakeTriggers) -> None:
    """The monitor keeps its evaluations in Prefect; the store may not have heard of them yet."""
    trigger = await create(service, condition={"patience": 3})
    checked = an_evaluation(
        trigger_id=trigger.id, at=datetime.now(UTC), outcome=Outcome.BREACHED, patience_count=1
    )
    await orchestrator.keep_evaluation(checked)
    assert [(await fire(service, trigger.id)).patience_count for _ in range(2)] == [2, 3]
    assert [breach.champion_version for breach in orchestrator.breaches] == ["3"]


async def test_a_clock_that_is_behind_does_not_change_the_order_of_decisions(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    """The monitor's machine is ahead of the facade's."""
    trigger = await create(service, condition={"patience": 3})
    ahead = datetime.now(UTC) + timedelta(minutes=1)
    breach = an_evaluation(trigger_id=trigger.id, at=ahead, outcome=Outcome.BREACHED, patience_count=1)
    await orchestrator.keep_evaluation(breach)
    found = [await fire(service, trigger.id) for _ in range(2)]
    assert [one.patience_count for one in found] == [2, 3]
    assert ahead < found[0].at < found[1].at


async def test_a_quiet_check_in_between_starts_the_count_anew(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service, condition={"patience": 2})
    await fire(service, trigger.id)
    await orchestrator.keep_evaluation(an_evaluation(trigger_id=trigger.id, at=datetime.now(UTC)))
    assert (await fire(service, trigger.id)).patience_count == 1


async def test_a_disabled_trigger_takes_note_and_does_not_fire(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service, enabled=False)
    assert (await fire(service, trigger.id)).action is Action.DISABLED
    assert orchestrator.breaches == []
    await service.change(trigger.id, TriggerChange(enabled=True), by="ci")
    assert (await fire(service, trigger.id)).action is Action.FIRED


async def test_the_same_key_returns_the_same_evaluation_and_fires_once(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service)
    first = await fire(service, trigger.id, "incident-7", reason="drifted")
    assert await fire(service, trigger.id, "incident-7", reason="drifted") == first
    assert orchestrator.breaches == [first]
    other = await create(service)
    assert (await fire(service, other.id, "incident-7", reason="something else")).id != first.id


async def test_a_key_belongs_to_its_caller(service: TriggerService, orchestrator: FakeTriggers) -> None:
    trigger = await create(service)
    first = await fire(service, trigger.id, "incident-7", by="grafana", reason="drifted")
    other = await fire(service, trigger.id, "incident-7", by="datadog", reason="something else")
    assert orchestrator.breaches == [first, other]


@pytest.mark.parametrize("hour", [1, 23])
async def test_a_key_is_remembered_for_24_hours(
    service: TriggerService, orchestrator: FakeTriggers, database: Database, hour: int
) -> None:
    trigger = await create(service)
    async with database.session() as session:
        row = await find_trigger(session, trigger.id)
    assert row is not None
    began = clock = datetime.now(UTC).replace(hour=hour) + timedelta(days=1)
    external = ExternalBreaches(database, orchestrator, clock=lambda: clock)
    found = []
    for hours in (0, 23, 25, 48, 50):
        clock = began + timedelta(hours=hours)
        found.append((await external.report(row, Signal(), by="grafana", idempotency_key="k")).at)
    assert [at - began for at in found] == [timedelta(hours=hours) for hours in (0, 0, 25, 25, 50)]


async def test_the_same_key_with_another_signal_is_refused(service: TriggerService) -> None:
    trigger = await create(service)
    await fire(service, trigger.id, "incident-7", scores={"age": 0.4})
    with pytest.raises(IdempotencyKeyReused, match="incident-7"):
        await fire(service, trigger.id, "incident-7", scores={"age": 0.5})


async def test_a_signal_of_the_future_or_for_no_trigger_is_refused(
    service: TriggerService, orchestrator: FakeTriggers
) -> None:
    trigger = await create(service)
    with pytest.raises(InvalidRequest, match=r"at: .* lies in the future"):
        await fire(service, trigger.id, at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    with pytest.raises(TriggerNotFound):
        await fire(service, uuid4())
    assert orchestrator.kept == {}


async def test_signals_at_once_count_one_after_the_other(
    service: TriggerService, orchestrator: FakeTriggers, database_url: str
) -> None:
    """Also those that come through two replicas of the facade."""
    replica_database = Database(database_url, busy_seconds=5)
    replica = TriggerService(replica_database, orchestrator, CATALOG)
    trigger = await create(service, condition={"patience": 5})
    found = await asyncio.gather(*(fire(one, trigger.id) for one in [service, replica] * 5))
    await replica_database.close()
    assert sorted(one.patience_count for one in found) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [one.action for one in sorted(found, key=lambda one: one.at)].count(Action.FIRED) == 2
    assert len({one.at for one in found}) == 10
    assert len(orchestrator.breaches) == 2


async def test_repetitions_at_once_are_one(service: TriggerService, orchestrator: FakeTriggers) -> None:
    trigger = await create(service)
    found = await asyncio.gather(*(fire(service, trigger.id, "k") for _ in range(8)))
    assert len({one.model_dump_json() for one in found}) == 1
    assert len(orchestrator.breaches) == 1


# Crashes and outages


class DiesAt(FakeTriggers):
    """The process is gone when it would make this call."""

    dying: str | None = None
    failure: Exception = OrchestratorUnavailable("answer")

    async def announce_breach(self, evaluation: Evaluation, *, repetition: int = 0) -> None:
        if self.dying == "announce_breach":
            raise self.failure
        await super().announce_breach(evaluation, repetition=repetition)

    async def keep_evaluation(self, evaluation: Evaluation) -> None:
        if self.dying == "keep_evaluation":
            raise self.failure
        await super().keep_evaluation(evaluation)


@pytest.fixture
def orchestrator() -> DiesAt:
    return DiesAt()


@pytest.mark.parametrize("step", ["announce_breach", "keep_evaluation"])
async def test_a_signal_that_did_not_get_through_goes_on_where_it_stopped_when_it_is_repeated(
    service: TriggerService, orchestrator: DiesAt, database: Database, step: str
) -> None:
    trigger = await create(service, condition={"cooldown": "1d"})
    orchestrator.dying = step
    with pytest.raises(OrchestratorUnavailable):
        await fire(service, trigger.id, "k")
    assert (await service.evaluations(trigger.id)).evaluations == []
    orchestrator.dying = None
    evaluation = await fire(service, trigger.id, "k")
    assert evaluation.action is Action.FIRED
    assert orchestrator.breaches == [evaluation]
    assert [kept for _, kept in orchestrator.kept.values()] == [evaluation]
    assert (await service.evaluations(trigger.id)).evaluations == [evaluation]
    assert (await fire(service, trigger.id)).action is Action.HELD_BY_COOLDOWN


async def test_what_nobody_repeats_is_told_later(
    service: TriggerService, orchestrator: DiesAt, database: Database
) -> None:
    trigger = await create(service)
    orchestrator.dying = "announce_breach"
    with pytest.raises(OrchestratorUnavailable):
        await fire(service, trigger.id, "k")
    orchestrator.dying = None
    external = ExternalBreaches(database, orchestrator)
    await external.tell_untold(datetime.now(UTC))
    assert orchestrator.breaches == []  # the request may still be under way
    await external.tell_untold(datetime.now(UTC) + LATER)
    assert len(orchestrator.breaches) == 1
    assert (await service.evaluations(trigger.id)).evaluations == orchestrator.breaches
    await external.tell_untold(datetime.now(UTC) + LATER)
    assert orchestrator.calls.count("keep_evaluation") == 1


async def test_what_prefect_kept_and_nobody_was_told_so_is_known_when_it_comes_back_as_an_event(
    service: TriggerService, orchestrator: DiesAt, database: Database
) -> None:
    trigger = await create(service)
    orchestrator.dying = "keep_evaluation"
    with pytest.raises(OrchestratorUnavailable):
        await fire(service, trigger.id, "k")
    [row] = await evaluation_rows(database)
    assert await EvaluationLog(database).record([evaluation_of(row)]) == 0
    assert [one.id for one in (await service.evaluations(trigger.id)).evaluations] == [row.id]


async def test_without_a_key_a_signal_that_did_not_get_through_does_not_count(
    service: TriggerService, orchestrator: DiesAt, database: Database
) -> None:
    """It comes again under another id."""
    trigger = await create(service, condition={"patience": 2})
    orchestrator.dying = "keep_evaluation"
    with pytest.raises(OrchestratorUnavailable):
        await fire(service, trigger.id)
    assert await evaluation_rows(database) == []
    orchestrator.dying = None
    assert (await fire(service, trigger.id)).patience_count == 1


@pytest.mark.parametrize("step", ["announce_breach", "keep_evaluation"])
async def test_without_a_key_a_breach_that_may_have_started_a_job_is_answered_and_told_later(
    service: TriggerService, orchestrator: DiesAt, database: Database, step: str
) -> None:
    trigger = await create(service, condition={"cooldown": "1d"})
    orchestrator.dying = step
    evaluation = await fire(service, trigger.id)
    assert evaluation.action is Action.FIRED
    orchestrator.dying = None
    await ExternalBreaches(database, orchestrator).tell_untold(datetime.now(UTC) + LATER)
    assert (await service.evaluations(trigger.id)).evaluations == orchestrator.breaches == [evaluation]
    assert (await fire(service, trigger.id)).action is Action.HELD_BY_COOLDOWN


async def test_a_breach_that_prefect_took_stays_though_it_refuses_the_evaluation(
    service: TriggerService, orchestrator: DiesAt
) -> None:
    trigger = await create(service)
    orchestrator.dying, orchestrator.failure = "keep_evaluation", OrchestratorRefused("keep it", "too large")
    evaluation = await fire(service, trigger.id)
    assert (await service.evaluations(trigger.id)).evaluations == orchestrator.breaches == [evaluation]


async def test_what_prefect_refuses_is_not_tried_for_ever(
    service: TriggerService, orchestrator: DiesAt, database: Database
) -> None:
    trigger = await create(service)
    orchestrator.dying = "announce_breach"
    with pytest.raises(OrchestratorUnavailable):
        await fire(service, trigger.id, "k")
    orchestrator.failure = OrchestratorRefused("emit an event", "too large")
    await ExternalBreaches(database, orchestrator).tell_untold(datetime.now(UTC) + LATER)
    assert await evaluation_rows(database) == []
