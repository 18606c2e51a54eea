"""The routes of models: the catalog, versions, and who is champion."""

from uuid import uuid4

import httpx
import pytest

from tests.api.answers import error_of
from tests.api.conftest import Api
from tests.registry.factories import challenger

MODELS = "/api/retraining/models"


def register(api: Api, count: int = 1, model: str = "churn") -> None:
    for _ in range(count):
        api.registry.register(model, challenger())


async def champion_of(client: httpx.AsyncClient, model: str = "churn") -> str | None:
    champion = (await client.get(f"{MODELS}/{model}")).json()["champion"]
    return champion and str(champion["version"])


async def test_the_catalog_shows_each_model_with_what_its_users_need(
    api: Api, admin: httpx.AsyncClient
) -> None:
    churn, profitability = (await admin.get(MODELS)).json()
    assert (churn["name"], profitability["name"]) == ("churn", "profitability")
    assert churn["task"] == "binary"
    assert churn["metric"] == {"name": "roc_auc", "direction": "maximize"}
    assert profitability["metric"] == {"name": "mae", "direction": "minimize"}
    assert [metric["name"] for metric in profitability["report"]] == ["r2"]
    assert churn["features"] == ["orders", "spend"]
    assert churn["label_delay"] == "P90D"
    assert churn["min_rows"] == 500
    assert churn["promotion"]["approval"] == "automatic"
    bounds = churn["parameters"]["properties"]["iterations"]
    assert (bounds["minimum"], bounds["maximum"], bounds["default"]) == (1, 5_000, 100)
    assert (churn["champion"], churn["previous"]) == (None, None)
    assert (await admin.get(f"{MODELS}/churn")).json() == churn


async def test_a_promoted_version_is_champion_and_its_history_says_who_and_why(
    api: Api, admin: httpx.AsyncClient
) -> None:
    register(api, 2)
    answer = await admin.post(f"{MODELS}/churn/versions/1/promote", json={"reason": "first"})
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["message"], changed["changed"]) == ("version 1 is now champion of churn", True)
    await admin.post(f"{MODELS}/churn/versions/2/promote")
    shown = (await admin.get(f"{MODELS}/churn")).json()
    assert shown["champion"]["version"] == "2"
    assert shown["champion"]["metrics"] == {"roc_auc": 0.81, "log_loss": 0.42}
    assert shown["champion"]["since"] is not None
    assert shown["previous"] == "1"
    newest, first = (await admin.get(f"{MODELS}/churn/promotions")).json()
    assert (newest["version"], newest["previous"], newest["reason"]) == ("2", "1", "promoted by hand")
    assert {**first, "at": ""} == {
        "version": "1",
        "previous": None,
        "kind": "promotion",
        "at": "",
        "by": "ada",
        "reason": "first",
        "job_id": None,
    }
    assert changed["promotion"] == first


async def test_promoting_the_champion_again_changes_nothing(api: Api, admin: httpx.AsyncClient) -> None:
    register(api)
    path = f"{MODELS}/churn/versions/1/promote"
    await admin.post(path)
    again = (await admin.post(path)).json()
    assert again == {
        "message": "version 1 already is champion of churn",
        "changed": False,
        "promotion": None,
    }
    assert len((await admin.get(f"{MODELS}/churn/promotions")).json()) == 1


async def test_versions_come_newest_first_with_all_that_is_known_of_them(
    api: Api, admin: httpx.AsyncClient
) -> None:
    job_id = str(uuid4())
    register(api, 2)
    version = api.registry.register("churn", challenger(job_id=job_id))
    api.registry.record_decision(version, "level with the champion")
    for number in ("1", "3", "1"):
        await admin.post(f"{MODELS}/churn/versions/{number}/promote")
    third, second, first = (await admin.get(f"{MODELS}/churn/versions")).json()
    assert [one["version"] for one in (third, second, first)] == ["3", "2", "1"]
    assert (third["job_id"], third["decision"]) == (job_id, "level with the champion")
    assert third["fingerprint"]["rows"] == 1_234
    assert third["parameters"] == {"iterations": "20", "learning_rate": "0.05"}
    assert (third["aliases"], second["aliases"], first["aliases"]) == (["previous"], [], ["champion"])
    assert [len(one["promotions"]) for one in (third, second, first)] == [1, 0, 2]
    assert first["promotions"][0]["previous"] == "3"


async def test_versions_come_in_pages(api: Api, admin: httpx.AsyncClient) -> None:
    register(api, 5)
    answer = await admin.get(f"{MODELS}/churn/versions", params={"limit": 2})
    found = [version["version"] for version in answer.json()]
    while "next" in answer.links:
        answer = await admin.get(answer.links["next"]["url"])
        found += [version["version"] for version in answer.json()]
    assert found == ["5", "4", "3", "2", "1"]


async def test_a_rollback_restores_the_previous_champion(api: Api, admin: httpx.AsyncClient) -> None:
    register(api, 2)
    for number in ("1", "2"):
        await admin.post(f"{MODELS}/churn/versions/{number}/promote")
    answer = await admin.post(f"{MODELS}/churn/rollback", json={"reason": "complaints"})
    assert answer.json()["message"] == "churn is back at version 1"
    assert await champion_of(admin) == "1"
    newest = (await admin.get(f"{MODELS}/churn/promotions")).json()[0]
    assert (newest["kind"], newest["by"], newest["reason"]) == ("rollback", "ada", "complaints")


async def test_a_rollback_that_names_the_champion_to_leave_happens_once(
    api: Api, admin: httpx.AsyncClient
) -> None:
    register(api, 3)
    for number in ("1", "2"):
        await admin.post(f"{MODELS}/churn/versions/{number}/promote")
    path, leave = f"{MODELS}/churn/rollback", {"from_version": "2"}
    first, again = await admin.post(path, json=leave), await admin.post(path, json=leave)
    assert (first.json()["changed"], again.json()["changed"]) == (True, False)
    assert await champion_of(admin) == "1"
    await admin.post(f"{MODELS}/churn/versions/3/promote")
    refused = error_of(await admin.post(path, json=leave), 409, "ChampionChanged")
    assert "is now 3" in refused["message"]
    assert await champion_of(admin) == "3"


async def test_there_may_be_nothing_to_roll_back_to(api: Api, admin: httpx.AsyncClient) -> None:
    path = f"{MODELS}/churn/rollback"
    error_of(await admin.post(path), 409, "NoChampion")
    error_of(await admin.post(path, json={"from_version": "1"}), 409, "ChampionChanged")
    register(api)
    await admin.post(f"{MODELS}/churn/versions/1/promote")
    error_of(await admin.post(path), 409, "NothingToRollBackTo")


async def test_a_promotion_waits_for_the_lock_and_gives_up(api: Api, admin: httpx.AsyncClient) -> None:
    register(api)
    async with api.prefect.promotion_lock("churn"):
        answer = await admin.post(f"{MODELS}/churn/versions/1/promote")
        error_of(answer, 409, "PromotionLockBusy")
        assert answer.headers["Retry-After"]
        assert await champion_of(admin) is None
    assert (await admin.post(f"{MODELS}/churn/versions/1/promote")).status_code == 200


@pytest.mark.parametrize("body", [None, {}, {"reason": None}])
async def test_a_reason_is_optional(api: Api, admin: httpx.AsyncClient, body: object) -> None:
    register(api)
    answer = await admin.post(f"{MODELS}/churn/versions/1/promote", json=body)
    assert answer.json()["promotion"]["reason"] == "promoted by hand"


async def test_a_move_in_mlflow_itself_shows_in_the_history(api: Api, admin: httpx.AsyncClient) -> None:
    register(api)
    api.registry.set_alias("churn", "champion", "1")
    [moved] = (await admin.get(f"{MODELS}/churn/promotions")).json()
    assert (moved["version"], moved["kind"]) == ("1", "outside")
    assert (await admin.get(f"{MODELS}/churn")).json()["champion"]["since"] is not None
