"""The story of a check without Prefect: what is announced, kept and reported, and in which order."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from retraining.catalog.spec import ModelSpec
from retraining.errors import OrchestratorUnavailable, RegistryUnavailable, SourceUnreachable, UnknownModel
from retraining.jobs.job import TriggerType
from retraining.monitoring.check import Check, Doors, make_report, run_check
from retraining.registry.monitoring_runs import OpenReport
from retraining.triggers.condition import DriftCondition, PerformanceCondition
from retraining.triggers.evaluation import Action, Evaluation, Outcome
from tests.flows.drifting import DAY, MOVES_AT, moving, staying
from tests.monitoring.champions import crown
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.registry.fake import FakeRegistry

LATER = DAY + timedelta(days=40)
TRIGGER = UUID("0198c2a4-5d3e-7b61-9c1f-2f0e6f1f4b11")


@dataclass
class FakeRuns:
    """`MonitoringRuns` in memory, noting its calls beside those of the triggers."""

    calls: list[str]
    opened: dict[str, dict[str, float]] = field(default_factory=dict)
    finished: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    down: bool = False
    open_once: threading.Event | None = None
    """Where MLflow does not answer until then."""

    def open_report(
        self, model_name: str, at: datetime, *, scores: Mapping[str, float], facts: Mapping[str, str]
    ) -> OpenReport:
        self.calls.append("open_report")
        if self.open_once is not None:
            assert self.open_once.wait(10)
        if self.down:
            raise RegistryUnavailable("open a report")
        run_id = str(uuid4())
        self.opened[run_id] = dict(scores)
        return OpenReport(run_id, f"http://mlflow.test/#/experiments/7/runs/{run_id}")

    def finish_report(self, report: OpenReport, files: Mapping[str, bytes], *, failed: bool = False) -> None:
        self.calls.append("finish_report")
        if self.down:
            raise RegistryUnavailable("log a report")
        self.finished[report.run_id] = files
        if failed:
            self.failed.append(report.run_id)


@dataclass
class World:
    triggers: FakeTriggers
    registry: FakeRegistry
    runs: FakeRuns
    doors: Doors

    @property
    def calls(self) -> list[str]:
        return self.triggers.calls


@pytest.fixture
def world() -> World:
    triggers, registry = FakeTriggers(), FakeRegistry()
    triggers.automations[TRIGGER] = True
    for spec in (moving, staying):
        crown(registry, spec, MOVES_AT)
    runs = FakeRuns(triggers.calls)
    models = {spec.name: spec for spec in (moving, staying)}

    def find_spec(name: str) -> ModelSpec:
        if name not in models:
            raise UnknownModel(name, list(models))
        return models[name]

    return World(triggers, registry, runs, Doors(triggers, registry, runs, find_spec, retry_seconds=()))


def check(model_name: str = "moving", **facts: Any) -> Check:
    asked = Check(uuid4(), model_name, DriftCondition(), LATER, trigger_id=TRIGGER)
    return replace(asked, **facts)


async def test_a_breach_is_announced_before_anything_else_is_done_with_it(world: World) -> None:
    asked = check(by="ann", source="request")

    checked = await run_check(asked, world.doors)

    assert world.calls == [
        "latest_evaluation",
        "is_enabled",
        "announce_breach",
        "open_report",
        "keep_evaluation",
    ]
    evaluation = checked.evaluation
    assert evaluation == await world.triggers.latest_evaluation(TRIGGER)
    assert (evaluation.id, evaluation.trigger_id, evaluation.action) == (asked.id, TRIGGER, Action.FIRED)
    assert (evaluation.source, evaluation.by, evaluation.as_of) == ("request", "ann", LATER)
    assert checked.report is not None
    assert evaluation.report_url == f"{checked.report.url}/artifacts/drift_report.html"
    [announced] = world.triggers.breaches
    assert announced == evaluation.model_copy(update={"report_url": None})
    [scores] = world.runs.opened.values()
    assert scores["drift_share"] == pytest.approx(2 / 3)
    assert scores["threshold"] == 0.5
    assert scores.keys() >= {"rows", "drift/amount", "drift/way", "drift/quiet"}


async def test_a_quiet_check_is_kept_and_nothing_more(world: World) -> None:
    checked = await run_check(check("staying"), world.doors)

    assert world.calls == ["latest_evaluation", "keep_evaluation"]
    assert (checked.evaluation.outcome, checked.evaluation.action) == (Outcome.QUIET, Action.NONE)
    assert checked.report is None


async def test_a_report_is_made_on_demand_of_a_quiet_check(world: World) -> None:
    checked = await run_check(check("staying", report=True), world.doors)
    assert checked.report is not None
    assert world.triggers.breaches == []


async def test_a_check_that_runs_again_is_the_same_check(world: World) -> None:
    """Its process died after it had kept the evaluation, and Prefect started it anew."""
    asked = check()
    first = await run_check(asked, world.doors)

    again = await run_check(asked, world.doors)

    assert again.evaluation == first.evaluation
    assert len(world.triggers.breaches) == len(world.triggers.kept) == len(world.runs.opened) == 1


async def test_patience_and_cooldown_come_from_what_was_kept(world: World) -> None:
    condition = DriftCondition(patience=2, cooldown=timedelta(hours=1))
    actions = [(await run_check(check(condition=condition), world.doors)).evaluation.action for _ in range(4)]
    assert actions == [
        Action.HELD_BY_PATIENCE,
        Action.FIRED,
        Action.HELD_BY_PATIENCE,
        Action.HELD_BY_COOLDOWN,
    ]
    assert len(world.triggers.breaches) == 1


async def test_a_breach_of_a_disabled_trigger_is_reported_and_starts_nothing(world: World) -> None:
    checked = await run_check(check(enabled=False), world.doors)
    assert checked.evaluation.action is Action.DISABLED
    assert checked.report is not None
    assert world.triggers.breaches == []


@pytest.mark.parametrize("automations", [{}, {TRIGGER: False}])
async def test_a_check_that_waited_while_its_trigger_was_switched_off_or_deleted_starts_nothing(
    world: World, automations: dict[UUID, bool]
) -> None:
    world.triggers.automations = automations
    checked = await run_check(check(enabled=True), world.doors)
    assert checked.evaluation.action is Action.DISABLED
    assert checked.evaluation.last_fired_at is None
    assert world.triggers.breaches == []


async def test_a_breach_that_lasts_is_reported_once_and_whenever_it_fires(world: World) -> None:
    condition = DriftCondition(patience=3, cooldown=timedelta(hours=1))
    checks = [await run_check(check(condition=condition), world.doors) for _ in range(5)]
    checks.append(await run_check(check(condition=condition, report=True), world.doors))
    assert [(checked.evaluation.patience_count, checked.report is not None) for checked in checks] == [
        (1, True),
        (2, False),
        (3, True),  # fired
        (1, True),
        (2, False),
        (3, True),  # asked for
    ]


async def test_a_check_of_nobodys_trigger_is_shown_only(world: World) -> None:
    checked = await run_check(check(trigger_id=None), world.doors)
    assert checked.evaluation.breached
    assert checked.evaluation.action is Action.NONE
    assert world.calls == ["open_report"]


async def test_a_check_that_fails_is_an_evaluation_with_its_reason(world: World) -> None:
    checked = await run_check(check("no-such"), world.doors)
    assert checked.evaluation.outcome is Outcome.FAILED
    assert checked.evaluation.reason.startswith("unknown model 'no-such'")
    assert list(world.triggers.kept) == [checked.evaluation.id]


async def test_a_check_that_cannot_be_made_is_kept_and_forgets_nothing(world: World) -> None:
    fired = await run_check(check(), world.doors)

    checked = await run_check(check(obstacle="trigger_condition.drift_share: is 2"), world.doors)

    evaluation = checked.evaluation
    assert (evaluation.outcome, evaluation.action) == (Outcome.FAILED, Action.NONE)
    assert evaluation.reason == "trigger_condition.drift_share: is 2"
    assert evaluation.last_fired_at == fired.evaluation.at
    assert evaluation == await world.triggers.latest_evaluation(TRIGGER)


async def test_a_performance_condition_is_checked_as_one(world: World) -> None:
    doors = replace(world.doors, registry=FakeRegistry())  # without any champion
    checked = await run_check(check(condition=PerformanceCondition()), doors)
    assert checked.evaluation.trigger_type is TriggerType.PERFORMANCE
    assert checked.evaluation.outcome is Outcome.NOT_JUDGED


async def test_what_a_teams_own_source_raises_is_a_failed_check(world: World) -> None:
    def find_spec(name: str) -> ModelSpec:
        raise ZeroDivisionError("no orders")

    checked = await run_check(check(), replace(world.doors, find_spec=find_spec))

    assert checked.evaluation.outcome is Outcome.FAILED
    assert checked.evaluation.reason == "ZeroDivisionError: no orders"


async def test_a_storage_that_answers_again_is_waited_for(world: World) -> None:
    silent = [SourceUnreachable("orders", "the storage does not answer")] * 2

    def find_spec(name: str) -> ModelSpec:
        if silent:
            raise silent.pop()
        return moving

    checked = await run_check(check(), replace(world.doors, find_spec=find_spec, retry_seconds=(0, 0)))

    assert checked.evaluation.breached


async def test_a_prefect_that_answers_again_still_hears_of_the_breach(world: World) -> None:
    """Nothing is lost, and nothing is told twice, when the server restarts in the middle."""

    class Restarting(FakeTriggers):
        async def announce_breach(self, evaluation: Evaluation, *, repetition: int = 0) -> None:
            first = "announce_breach" not in self.calls
            await super().announce_breach(evaluation, repetition=repetition)
            if first:
                raise OrchestratorUnavailable("hear its answer")

    triggers = Restarting()
    triggers.automations[TRIGGER] = True
    await run_check(check(), replace(world.doors, triggers=triggers, retry_seconds=(0,)))

    assert triggers.calls == [
        "latest_evaluation",
        "is_enabled",
        "announce_breach",
        "announce_breach",
        "keep_evaluation",
    ]
    assert len(triggers.breaches) == len(triggers.kept) == 1


async def test_a_registry_that_stays_silent_fails_the_check(world: World) -> None:
    world.registry.down = True
    checked = await run_check(check(), replace(world.doors, retry_seconds=(0, 0)))
    assert checked.evaluation.outcome is Outcome.FAILED
    assert checked.evaluation.reason.startswith("MLflow is unavailable")


async def test_a_breach_fires_though_no_report_can_be_opened(world: World) -> None:
    world.runs.down = True
    checked = await run_check(check(), world.doors)
    assert checked.evaluation.action is Action.FIRED
    assert checked.evaluation.report_url is None
    assert checked.report is None
    await make_report(checked, world.doors)
    assert world.calls[-1] == "keep_evaluation"


async def test_a_breach_is_kept_while_mlflow_does_not_answer(world: World) -> None:
    """Or it would be forgotten, and fire again, if the process died meanwhile."""
    answers = world.runs.open_once = threading.Event()

    class Keeping(FakeTriggers):
        async def keep_evaluation(self, evaluation: Evaluation) -> None:
            await super().keep_evaluation(evaluation)
            answers.set()

    triggers = Keeping()
    triggers.automations[TRIGGER] = True

    checked = await run_check(check(), replace(world.doors, triggers=triggers, link_seconds=0.01))

    kept = await triggers.latest_evaluation(TRIGGER)
    assert kept == checked.evaluation
    assert kept.report_url is None
    assert checked.report is not None, "it is made all the same"


async def test_the_report_is_evidentlys_with_the_evaluation_beside_it(world: World) -> None:
    checked = await run_check(check(), world.doors)

    await make_report(checked, world.doors)

    [files] = world.runs.finished.values()
    assert files.keys() == {"drift_report.html", "evaluation.json"}
    html = files["drift_report.html"].decode()
    assert all(column in html for column in ("amount", "way", "quiet"))
    assert b'"action": "fired"' in files["evaluation.json"].replace(b'":"', b'": "')


@pytest.mark.parametrize("silent", [False, True])
async def test_a_report_that_fails_changes_nothing(
    world: World, silent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    checked = await run_check(check(), world.doors)
    world.registry.down, world.runs.down = True, silent

    await make_report(checked, world.doors)

    assert "could not be made: MLflow is unavailable" in caplog.text
    if silent:
        assert world.runs.finished == {}
        return
    [(run_id, files)] = world.runs.finished.items()
    assert world.runs.failed == [run_id]
    assert files.keys() == {"evaluation.json", "report_error.txt"}
    assert files["report_error.txt"].startswith(b"RegistryUnavailable: MLflow is unavailable")
