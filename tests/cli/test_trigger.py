"""`retraining trigger` against a facade whose Prefect is played."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from retraining.triggers.evaluation import Action, Evaluation, Outcome
from tests.api.conftest import Api, served
from tests.api.waiting import until
from tests.cli.command import retraining

FILE = """\
triggers:
  - model_name: churn
    trigger_type: scheduled
    trigger_condition: {cron: "30 2 * * *", timezone: Europe/Berlin}
  - model_name: churn
    trigger_type: drift
    trigger_condition: {check_every: 1d, patience: 2, cooldown: 7d}
  - model_name: profitability
    trigger_type: performance
    trigger_condition: {metric: mae, max_drop: 0.1}
"""


class Shell:
    """A person at a shell, whose environment names a facade and a key."""

    def __init__(self, api: Api, env: Mapping[str, str], folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.env = {**env}

    async def run(self, *arguments: str, code: int = 0) -> str:
        """What `retraining trigger ...` printed, having ended with this code."""
        done = await asyncio.to_thread(retraining, "trigger", *arguments, env=self.env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    async def apply(self, text: str, *options: str, code: int = 0) -> str:
        file = self.folder / "triggers.yaml"
        file.write_text(text)
        return await self.run("apply", "-f", str(file), *options, code=code)

    async def listed(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(await self.run("list", "--json"))
        return found


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with served(tmp_path / "home") as api:
        key = (await api.keys.create(name="ada", scopes=["read", "trigger"])).secret
        env = {**os.environ, "RETRAINING_API_URL": api.url, "RETRAINING_API_KEY": key}
        yield Shell(api, env, tmp_path)


async def test_a_file_is_applied_and_again_changes_nothing(shell: Shell) -> None:
    """The plan comes first; a dry run does no more than print it."""
    planned = await shell.apply(FILE, "--dry-run")
    assert re.search(
        r'^\+ create +churn +scheduled +cron "30 2 \* \* \*", timezone Europe/Berlin *$',
        planned,
        re.MULTILINE,
    )
    assert "patience 2, cooldown 7d" in planned
    assert "3 to create, 0 to change, 0 to delete, 0 unchanged" in planned
    assert await shell.listed() == []
    applied = await shell.apply(FILE, "--yes")
    assert applied == planned + "applied\n"
    before = await shell.listed()
    assert sorted((one["model_name"], one["trigger_type"]) for one in before) == [
        ("churn", "drift"),
        ("churn", "scheduled"),
        ("profitability", "performance"),
    ]
    assert await shell.apply(FILE, "--yes") == "nothing to change: 3 triggers as declared\n"
    assert await shell.listed() == before


async def test_a_changed_file_changes_in_place_switches_off_and_deletes_what_is_gone(shell: Shell) -> None:
    await shell.apply(FILE, "--yes")
    before = {one["trigger_type"]: one for one in await shell.listed()}
    text = FILE.replace("30 2 * * *", "0 4 * * *").replace("drift\n", "drift\n    enabled: false\n")
    said = await shell.apply(text[: text.index("  - model_name: profit")], "--yes")
    assert 'cron "30 2 * * *" → "0 4 * * *"' in said
    assert "enabled yes → no" in said
    assert "0 to create, 2 to change, 1 to delete, 0 unchanged" in said
    after = {one["trigger_type"]: one for one in await shell.listed()}
    assert after.keys() == {"scheduled", "drift"}
    assert {kind: one["id"] for kind, one in after.items()} == {
        kind: before[kind]["id"] for kind in ("scheduled", "drift")
    }
    assert after["drift"]["enabled"] is False
    assert after["drift"]["trigger_condition"] == before["drift"]["trigger_condition"]


async def test_schedules_made_in_prefect_are_left_alone(shell: Shell) -> None:
    schedule = shell.api.triggers.add_schedule("churn", {"cron": "0 5 * * *", "timezone": "UTC"})
    client = await shell.api.client("read")

    async def seen() -> int:
        return len((await client.get("/api/retraining/triggers")).json())

    await until(seen, 1, seconds=10)
    assert await shell.apply("triggers: []", "--yes") == "nothing to change: 0 triggers as declared\n"
    assert schedule.schedule_id in shell.api.triggers.schedules


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("patience: 2", "patience: 0", "line 7: triggers[1].trigger_condition.patience"),
        (
            "model_name: profitability",
            "model_name: profit",
            "line 8: model_name 'profit' is no model; known models: churn, profitability",
        ),
    ],
)
async def test_a_broken_file_changes_nothing(shell: Shell, before: str, after: str, said: str) -> None:
    """Line and field are named; no traceback."""
    assert before in FILE
    failed = await shell.apply(FILE.replace(before, after), "--yes", code=1)
    assert failed.startswith(
        f"retraining: {shell.folder / 'triggers.yaml'} cannot be used, nothing was changed"
    )
    assert said in failed
    assert "Traceback" not in failed
    assert shell.api.triggers.orders == {}


async def test_what_the_facade_refuses_half_way_is_taken_back(shell: Shell) -> None:
    """Only the model itself knows its columns: what was done before is undone, and the line is named."""
    await shell.apply(FILE[: FILE.index("  - model_name: profit")], "--yes")
    before = await shell.listed()
    text = FILE.replace("30 2 * * *", "0 4 * * *").replace("patience: 2", "columns: [age]")
    failed = await shell.apply(text, "--yes", code=1)
    assert "triggers.yaml, line 5: trigger_condition.columns: age is no feature" in failed
    assert "; nothing was changed\n" in failed
    after = await shell.listed()
    assert [{**one, "updated_at": None} for one in after] == [{**one, "updated_at": None} for one in before]


async def test_where_an_answer_is_missing_nobody_says_that_nothing_was_changed(shell: Shell) -> None:
    async with answerless_posts(shell.api.url) as url:
        shell.env["RETRAINING_API_URL"] = url
        failed = await shell.apply(FILE, "--yes", code=1)
    assert "line 2: the API does not answer" in failed
    assert "it may have been done all the same: apply again to see" in failed
    assert len(shell.api.triggers.orders) == 1


@asynccontextmanager
async def answerless_posts(api_url: str) -> AsyncIterator[str]:
    """The API behind a network that loses the answers to POST."""
    behind = urlsplit(api_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        api_reader, api_writer = await asyncio.open_connection(behind.hostname, behind.port)
        posted = False

        async def hand_on() -> None:
            nonlocal posted
            while asked := await reader.read(65_536):
                posted = posted or asked.startswith(b"POST")
                api_writer.write(asked)

        asking = asyncio.create_task(hand_on())
        while (answer := await api_reader.read(65_536)) and not posted:
            writer.write(answer)
        asking.cancel()
        for one in (writer, api_writer):
            one.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_without_a_yes_nothing_is_done(shell: Shell) -> None:
    """Standard input is empty here."""
    said = await shell.apply(FILE, code=1)
    assert "Apply this?" in said
    assert shell.api.triggers.orders == {}


async def test_triggers_are_listed_shown_and_deleted(shell: Shell) -> None:
    await shell.apply(FILE, "--yes")
    drift = next(one for one in await shell.listed() if one["trigger_type"] == "drift")
    trigger_id = str(drift["id"])
    listed = await shell.run("list", "--model", "churn", "--type", "drift")
    assert re.search(
        rf"^{trigger_id} +churn +drift +enabled +20\S+ \S+ +ada +patience 2, cooldown 7d *$",
        listed,
        re.MULTILINE,
    )
    assert "scheduled" not in listed
    shown = await shell.run("show", trigger_id)
    assert "drift trigger of churn, enabled, made by ada" in shown
    assert shown.endswith("no checks so far\n")
    await shell.api.triggers.keep_evaluation(evaluation(UUID(trigger_id)))
    client = await shell.api.client("read")

    async def checks() -> int:
        return len((await client.get(f"/api/retraining/triggers/{trigger_id}/evaluations")).json())

    await until(checks, 1)
    shown = await shell.run("show", trigger_id)
    assert re.search(
        r"breached +0\.75 +0\.5 +1 of 2 +held by patience +- +3 of 4 columns drifted *$", shown, re.MULTILINE
    )
    deleted = await shell.run("delete", trigger_id)
    assert deleted == f"trigger {trigger_id} is deleted; jobs that are running go on\n"
    assert "is deleted; its history stays" in await shell.run("show", trigger_id)
    assert "there is no trigger" in await shell.run("delete", trigger_id, code=1)


async def test_a_check_is_started_and_waited_for(shell: Shell) -> None:
    await shell.apply(FILE, "--yes")
    triggers = {str(one["trigger_type"]): str(one["id"]) for one in await shell.listed()}
    started = await shell.run("check", triggers["drift"], "--as-of", "1998-04-01", "--report")
    [check] = shell.api.triggers.checks
    assert started == f"check {check.run_id} started, http://prefect.test/runs/flow-run/{check.run_id}\n"
    assert (check.as_of, check.report) == (datetime(1998, 4, 1, tzinfo=UTC), True)
    for outcome, action, code in ((Outcome.QUIET, Action.NONE, 0), (Outcome.FAILED, Action.NONE, 1)):
        shell.api.triggers.checks.clear()
        waiting = asyncio.create_task(shell.run("check", triggers["drift"], "--wait", code=code))
        await until(lambda: _started(shell), 1, seconds=30)
        found = evaluation(UUID(triggers["drift"]), outcome, action, shell.api.triggers.checks[0].run_id)
        await shell.api.triggers.keep_evaluation(found)
        assert (await waiting).endswith(f"{outcome}, none: 3 of 4 columns drifted\n")
    refused = await shell.run("check", triggers["scheduled"], code=1)
    assert "there is nothing to check" in refused


async def _started(shell: Shell) -> int:
    return len(shell.api.triggers.checks)


def evaluation(
    trigger_id: UUID,
    outcome: Outcome = Outcome.BREACHED,
    action: Action = Action.HELD_BY_PATIENCE,
    evaluation_id: UUID | None = None,
) -> Evaluation:
    at = datetime.now(UTC)
    return Evaluation(
        id=evaluation_id or uuid4(),
        trigger_id=trigger_id,
        model_name="churn",
        trigger_type="drift",
        source="schedule",
        at=at,
        as_of=at,
        outcome=outcome,
        reason="3 of 4 columns drifted",
        score=0.75,
        threshold=0.5,
        patience=2,
        patience_count=1,
        in_cooldown=False,
        action=action,
    )


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    wrong = retraining("trigger", "apply", "-f", str(tmp_path / "x.yaml"))
    assert wrong.returncode == 2
    assert "Error" in wrong.stderr
