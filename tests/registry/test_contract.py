"""What `Registry` promises, held against the real registry and the fake one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from mlflow import MlflowClient

from retraining.errors import (
    ChampionChanged,
    NoChampion,
    NothingToRollBackTo,
    UnsupportedModel,
    VersionNotFound,
)
from retraining.registry.mlflow_registry import MlflowRegistry
from retraining.registry.values import Registry
from tests.registry.factories import FINGERPRINT, challenger, features, linear_model
from tests.registry.fake import FakeRegistry


@dataclass(frozen=True)
class Subject:
    """A registry under test, and what others can do behind its back."""

    registry: Registry
    set_alias: Callable[[str, str, str], None]
    delete_version: Callable[[str, str], None]


@pytest.fixture(params=["fake", "mlflow"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "fake":
        fake = FakeRegistry()
        return Subject(fake, fake.set_alias, fake.delete_version)
    url = request.getfixturevalue("mlflow_url")
    client = MlflowClient(url, registry_uri=url)
    return Subject(MlflowRegistry(url), client.set_registered_model_alias, client.delete_model_version)


@pytest.fixture
def registry(subject: Subject) -> Registry:
    return subject.registry


def test_an_unknown_model_has_no_versions_champion_or_history(registry: Registry, model_name: str) -> None:
    assert registry.list_versions(model_name) == []
    assert registry.find_champion(model_name) is None
    assert registry.find_previous(model_name) is None
    assert registry.promotions(model_name) == []
    with pytest.raises(VersionNotFound):
        registry.get_version(model_name, "1")
    with pytest.raises(VersionNotFound):
        registry.promote(model_name, "1", by="ann", reason="first")
    with pytest.raises(NoChampion):
        registry.roll_back(model_name, by="ann", reason="worse")


def test_a_registered_version_keeps_everything_and_has_no_alias(registry: Registry, model_name: str) -> None:
    given = challenger(metrics={"roc_auc": 0.8125, "r2": -0.05}, parameters={"depth": 3, "loss": "log"})

    version = registry.register(model_name, given)

    assert version == registry.get_version(model_name, "1") == registry.list_versions(model_name)[0]
    assert (version.model_name, version.version, version.aliases) == (model_name, "1", ())
    assert (version.job_id, version.correlation_id) == (given.job_id, "req-1")
    assert version.metrics == {"roc_auc": 0.8125, "r2": -0.05}
    assert version.parameters == {"depth": "3", "loss": "log"}
    assert version.fingerprint == FINGERPRINT
    assert version.holdout == given.holdout
    assert version.decision is None
    assert version.run_id is not None
    assert version.run_url is not None
    assert version.run_url.endswith(f"/runs/{version.run_id}")
    assert registry.find_champion(model_name) is None


def test_registering_twice_for_one_job_gives_one_version(registry: Registry, model_name: str) -> None:
    given = challenger()

    assert registry.register(model_name, given) == registry.register(model_name, given)
    assert [version.version for version in registry.list_versions(model_name)] == ["1"]


def test_versions_are_listed_newest_first(registry: Registry, model_name: str) -> None:
    for _ in range(3):
        registry.register(model_name, challenger())
    registry.promote(model_name, "2", by="ann", reason="best")

    listed = registry.list_versions(model_name)

    assert [version.version for version in listed] == ["3", "2", "1"]
    assert [version.aliases for version in listed] == [(), ("champion",), ()]


def test_a_model_without_a_flavour_is_refused_by_name(registry: Registry, model_name: str) -> None:
    with pytest.raises(UnsupportedModel, match=r"builtins\.dict"):
        registry.register(model_name, challenger(model={"weights": [1, 2]}))
    assert registry.list_versions(model_name) == []


def test_a_loaded_version_scores_like_the_model_just_trained(registry: Registry, model_name: str) -> None:
    version = registry.register(model_name, challenger())

    scores = registry.load(version).score(features())

    assert scores.shape == (200,)
    np.testing.assert_array_equal(scores, registry.as_scoring(linear_model(), model_name).score(features()))
    np.testing.assert_array_equal(scores, linear_model().predict_proba(features())[:, 1])


def test_files_are_read_as_they_were_logged(registry: Registry, model_name: str) -> None:
    files = {"plot.png": b"\x89PNG\x00\xff", "drift/profile": b"", "drift/big": bytes(range(256)) * 4_096}
    version = registry.register(model_name, challenger(files=files))

    for path, content in files.items():
        assert registry.read_file(version, path) == content
    for path in ("plot", "drift", "drift/other", "other/plot.png", ""):
        assert registry.read_file(version, path) is None


def test_a_version_without_files_has_none_to_read(registry: Registry, model_name: str) -> None:
    version = registry.register(model_name, challenger())

    assert registry.read_file(version, "drift_profile.json.gz") is None
    assert registry.read_file(replace(version, run_id=None), "drift_profile.json.gz") is None


def test_a_version_that_does_not_exist_is_not_found(registry: Registry, model_name: str) -> None:
    registry.register(model_name, challenger())

    for version in ("2", "0", "-1", "01", "1.0", "abc", "", "99999999999999999999"):
        with pytest.raises(VersionNotFound):
            registry.get_version(model_name, version)
        with pytest.raises(VersionNotFound):
            registry.promote(model_name, version, by="ann", reason="typing error")
    assert registry.promotions(model_name) == []


def test_a_decision_stays_with_its_version(registry: Registry, model_name: str) -> None:
    version = registry.register(model_name, challenger())

    registry.record_decision(version, "roc_auc 0.812 is below the champion's 0.845")
    registry.record_decision(version, "roc_auc 0.812 is below the champion's 0.845")

    assert registry.get_version(model_name, "1").decision == "roc_auc 0.812 is below the champion's 0.845"
    assert registry.list_versions(model_name)[0].decision is not None


def test_the_first_promotion_has_no_previous(registry: Registry, model_name: str) -> None:
    registry.register(model_name, challenger())

    promotion = registry.promote(
        model_name, "1", by="job", reason="first version", job_id="j1", expected_champion=None
    )

    assert promotion is not None
    assert (promotion.version, promotion.previous, promotion.kind) == ("1", None, "promotion")
    assert (promotion.by, promotion.reason, promotion.job_id) == ("job", "first version", "j1")
    assert registry.promotions(model_name) == [promotion]
    champion = registry.find_champion(model_name)
    assert champion is not None
    assert (champion.version, champion.aliases) == ("1", ("champion",))
    assert registry.find_previous(model_name) is None


def test_a_promotion_moves_both_aliases_and_adds_to_the_history(registry: Registry, model_name: str) -> None:
    first, second = (registry.register(model_name, challenger()) for _ in range(2))
    registry.promote(model_name, first.version, by="job", reason="first version")

    registry.promote(model_name, second.version, by="ann", reason="better", expected_champion="1")

    assert _champions(registry, model_name) == ("2", "1")
    history = registry.promotions(model_name)
    assert [(p.version, p.previous, p.by) for p in history] == [("2", "1", "ann"), ("1", None, "job")]
    assert history[0].at > history[1].at


def test_promoting_the_champion_again_changes_nothing(registry: Registry, model_name: str) -> None:
    for version in ("1", "2"):
        registry.register(model_name, challenger())
        registry.promote(model_name, version, by="job", reason="better")
    before = registry.promotions(model_name)

    assert registry.promote(model_name, "2", by="ann", reason="again", expected_champion="1") is None

    assert registry.promotions(model_name) == before
    assert _champions(registry, model_name) == ("2", "1")


@pytest.mark.parametrize("expected", [None, "2"])
def test_a_promotion_is_refused_when_the_champion_is_another_by_now(
    registry: Registry, model_name: str, expected: str | None
) -> None:
    for _ in range(3):
        registry.register(model_name, challenger())
    registry.promote(model_name, "1", by="job", reason="first version")

    with pytest.raises(ChampionChanged) as refusal:
        registry.promote(model_name, "3", by="job", reason="better", expected_champion=expected)

    assert (refusal.value.expected, refusal.value.found) == (expected, "1")
    assert _champions(registry, model_name) == ("1", None)
    assert [p.version for p in registry.promotions(model_name)] == ["1"]


def test_a_roll_back_swaps_champion_and_previous(registry: Registry, model_name: str) -> None:
    for version in ("1", "2"):
        registry.register(model_name, challenger())
        registry.promote(model_name, version, by="job", reason="better")

    back = registry.roll_back(model_name, by="ann", reason="complaints")

    assert (back.version, back.previous, back.kind, back.by) == ("1", "2", "rollback", "ann")
    assert _champions(registry, model_name) == ("1", "2")
    assert registry.promotions(model_name)[0] == back
    assert registry.roll_back(model_name, by="ann", reason="a mistake").version == "2"


def test_there_is_nothing_to_roll_back_to_after_the_first_promotion(
    registry: Registry, model_name: str
) -> None:
    registry.register(model_name, challenger())
    with pytest.raises(NoChampion):
        registry.roll_back(model_name, by="ann", reason="worse")
    registry.promote(model_name, "1", by="job", reason="first version")
    with pytest.raises(NothingToRollBackTo):
        registry.roll_back(model_name, by="ann", reason="worse")


def test_there_is_nothing_to_roll_back_to_once_previous_is_deleted(subject: Subject, model_name: str) -> None:
    registry = subject.registry
    for version in ("1", "2"):
        registry.register(model_name, challenger())
        registry.promote(model_name, version, by="job", reason="better")

    subject.delete_version(model_name, "1")

    with pytest.raises(NothingToRollBackTo):
        registry.roll_back(model_name, by="ann", reason="worse")
    assert _champions(registry, model_name) == ("2", None)
    assert [version.version for version in registry.list_versions(model_name)] == ["2"]


def test_a_champion_moved_outside_shows_first_in_the_history(subject: Subject, model_name: str) -> None:
    registry = subject.registry
    for _ in range(3):
        registry.register(model_name, challenger())
    registry.promote(model_name, "1", by="job", reason="first version")

    subject.set_alias(model_name, "champion", "2")

    champion = registry.find_champion(model_name)
    assert champion is not None
    assert champion.version == "2"
    history = registry.promotions(model_name)
    assert [(p.version, p.previous, p.kind) for p in history] == [
        ("2", "1", "outside"),
        ("1", None, "promotion"),
    ]

    registry.promote(model_name, "3", by="ann", reason="better", expected_champion="2")

    history = registry.promotions(model_name)
    assert [(p.version, p.previous, p.kind) for p in history] == [
        ("3", "2", "promotion"),
        ("2", "1", "outside"),
        ("1", None, "promotion"),
    ]
    assert history == sorted(history, key=lambda promotion: promotion.at, reverse=True)


def test_promoting_what_is_champion_by_an_outside_move_records_the_move(
    subject: Subject, model_name: str
) -> None:
    registry = subject.registry
    registry.register(model_name, challenger())
    subject.set_alias(model_name, "champion", "1")

    assert registry.promote(model_name, "1", by="ann", reason="make it so") is None

    recorded = registry.promotions(model_name)
    assert [(p.version, p.previous, p.kind) for p in recorded] == [("1", None, "outside")]
    assert registry.promotions(model_name) == recorded


def test_a_long_reason_survives_with_an_ellipsis(registry: Registry, model_name: str) -> None:
    registry.register(model_name, challenger())
    reason = 'the "reason"\n' * 2_000

    registry.promote(model_name, "1", by="ann", reason=reason)

    kept = registry.promotions(model_name)[0].reason
    assert kept == reason or (kept.endswith("…") and kept[:-1] == reason[: len(kept) - 1])
    assert len(kept) > 3_000


def test_ping_is_silent_when_all_is_well(registry: Registry) -> None:
    registry.ping()


def _champions(registry: Registry, model_name: str) -> tuple[str | None, str | None]:
    champion, previous = registry.find_champion(model_name), registry.find_previous(model_name)
    return champion.version if champion else None, previous.version if previous else None
