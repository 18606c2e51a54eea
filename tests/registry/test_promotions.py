"""Promotions that are interrupted, or made at the same time, on a real MLflow server."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mlflow import MlflowClient

from retraining.errors import ChampionChanged, PromotionLockBusy
from retraining.registry.history import INTENT_PREFIX, intent_tag
from retraining.registry.mlflow_registry import MlflowRegistry
from retraining.registry.promotions import Promotions
from retraining.registry.values import Promotion
from retraining.registry.versions import Versions
from tests.registry.factories import AS_OF, challenger, copy_version


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class DyingClient:
    """MLflow's client in a process that is killed just before its n-th change."""

    def __init__(self, client: MlflowClient, survives: int) -> None:
        self._client = client
        self._left = survives

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("set_", "delete_")):
            if self._left <= 0:
                raise Killed
            self._left -= 1
        return getattr(self._client, name)


def promotions_with(client: Any, abandoned: float = 120, give_up: float = 240) -> Promotions:
    """With bounds, in seconds, that are those of the test and not of a busy machine."""
    return Promotions(lambda: client, Versions(lambda: client, ""), abandoned, give_up)


@pytest.fixture
def versions(registry: MlflowRegistry, client: MlflowClient, model_name: str) -> Callable[[int], None]:
    """Makes versions without the cost of a registration each."""

    def make(count: int) -> None:
        registry.register(model_name, challenger())
        for _ in range(count - 1):
            copy_version(client, model_name)

    return make


@pytest.mark.parametrize("survives", range(5))
@pytest.mark.parametrize("healed_by", ["the job's retry", "the next job"])
def test_a_killed_promotion_is_healed(
    registry: MlflowRegistry,
    client: MlflowClient,
    model_name: str,
    versions: Callable[[int], None],
    survives: int,
    healed_by: str,
) -> None:
    """Killed before its intent, the champion alias, the previous alias, the record, the intent's removal."""
    versions(3)
    registry.promote(model_name, "1", by="job", reason="first version")
    registry.promote(model_name, "2", by="job", reason="better")
    with pytest.raises(Killed):
        promotions_with(DyingClient(client, survives)).promote(
            model_name, "3", by="job", reason="best", job_id="j3", expected_champion="2"
        )

    moved = survives >= 2
    seen = registry.promotions(model_name)
    expected = [("3", "2", "best"), ("2", "1", "better"), ("1", None, "first version")]
    assert [(p.version, p.previous, p.reason) for p in seen] == (expected if moved else expected[1:])

    if healed_by == "the job's retry":
        retried = registry.promote(
            model_name, "3", by="job", reason="best", job_id="j3", expected_champion="2"
        )
        assert (retried is None) == moved
    else:
        promotions_with(client, abandoned=0.3).promote(
            model_name,
            "1",
            by="ann",
            reason="the old one after all",
            job_id="j4",
            expected_champion="any",
        )
        expected = [("1", "3" if moved else "2", "the old one after all"), *expected[not moved :]]

    history = registry.promotions(model_name)
    assert [(p.version, p.previous, p.reason) for p in history] == expected
    _agrees(registry, model_name)
    tags = client.get_registered_model(model_name).tags
    assert not [key for key in tags if key.startswith(INTENT_PREFIX)]


def test_a_killed_promotion_is_healed_when_the_old_champion_is_deleted_by_then(
    registry: MlflowRegistry, client: MlflowClient, model_name: str, versions: Callable[[int], None]
) -> None:
    versions(3)
    registry.promote(model_name, "1", by="job", reason="first version")
    with pytest.raises(Killed):
        promotions_with(DyingClient(client, survives=2)).promote(
            model_name, "2", by="job", reason="better", job_id="j2", expected_champion="1"
        )
    client.delete_model_version(model_name, "1")

    assert registry.promote(model_name, "2", by="job", reason="better", job_id="j2") is None

    assert [p.version for p in registry.promotions(model_name)] == ["2", "1"]
    assert registry.find_previous(model_name) is None
    assert registry.promote(model_name, "3", by="job", reason="best") is not None


def test_of_eight_who_compared_with_the_same_champion_one_wins(
    registry: MlflowRegistry, model_name: str, mlflow_url: str, versions: Callable[[int], None]
) -> None:
    """Nobody holds the promotion lock here; with it there would be no contest."""
    versions(9)
    registry.promote(model_name, "1", by="job", reason="first version")

    outcomes = _at_once(mlflow_url, model_name, expected_champion="1")

    won = [outcome for outcome in outcomes if isinstance(outcome, Promotion)]
    assert len(won) == 1
    assert [type(outcome) for outcome in outcomes if outcome not in won] == [ChampionChanged] * 7
    assert [p.version for p in registry.promotions(model_name)] == [won[0].version, "1"]
    _agrees(registry, model_name)


def test_eight_promotions_at_once_come_one_after_the_other(
    registry: MlflowRegistry, model_name: str, mlflow_url: str, versions: Callable[[int], None]
) -> None:
    versions(9)
    registry.promote(model_name, "1", by="job", reason="first version")

    outcomes = _at_once(mlflow_url, model_name, expected_champion="any")

    history = registry.promotions(model_name)
    assert sorted(p.version for p in history) == [str(number) for number in range(1, 10)]
    assert {p.version: p for p in outcomes if isinstance(p, Promotion)} == {
        p.version: p for p in history[:-1]
    }
    _agrees(registry, model_name)


def test_a_promotion_waits_for_another_and_gives_up_in_the_end(
    client: MlflowClient, model_name: str, versions: Callable[[int], None]
) -> None:
    versions(2)
    other = Promotion(model_name, "2", None, "promotion", AS_OF, "bob", "slow", job_id="j2")
    client.set_registered_model_tag(model_name, *intent_tag(other, "bob"))
    mine = promotions_with(client, give_up=0.5)

    with pytest.raises(PromotionLockBusy, match=f"another promotion of '{model_name}' is under way"):
        mine.promote(model_name, "1", by="ann", reason="", job_id="j1", expected_champion="any")

    registered = client.get_registered_model(model_name)
    assert registered.aliases == {}
    assert [key for key in registered.tags if key.startswith(INTENT_PREFIX)] == [f"{INTENT_PREFIX}bob"]


def _at_once(mlflow_url: str, model_name: str, expected_champion: str) -> list[object]:
    """Promote the versions 2 to 9 in eight threads, each with a client of its own."""

    def promote(version: str) -> object:
        try:
            return promotions_with(MlflowClient(mlflow_url, registry_uri=mlflow_url)).promote(
                model_name,
                version,
                by="job",
                reason="better",
                job_id=f"j{version}",
                expected_champion=expected_champion,
            )
        except ChampionChanged as exc:
            return exc

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(promote, [str(number) for number in range(2, 10)]))


def _agrees(registry: MlflowRegistry, model_name: str) -> None:
    """The history has no gap and ends with what the aliases say."""
    history = registry.promotions(model_name)
    assert [p.previous for p in history] == [*(p.version for p in history[1:]), None]
    assert history == sorted(history, key=lambda p: p.at, reverse=True)
    champion, previous = registry.find_champion(model_name), registry.find_previous(model_name)
    assert champion is not None
    assert champion.version == history[0].version
    assert (previous.version if previous else None) == history[0].previous
