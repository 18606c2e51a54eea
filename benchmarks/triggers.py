"""Triggers on a real Prefect server: creating, listing, and from a breach to its job.

python -m benchmarks.triggers                            1,000 triggers on 200 models
python -m benchmarks.triggers --triggers 60 --models 12  smaller
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from api.app import create_app
from api.facade import Doors
from benchmarks.ratio import Line, at_most, print_lines
from retraining.auth.keys import KeyStore
from retraining.catalog.discovery import Catalog
from retraining.catalog.spec import ModelSpec
from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator
from retraining.settings import Settings
from retraining.store.database import Database
from tests.api.models import CHURN
from tests.api.serving import UNHURRIED, serving
from tests.servers import prefect_server

JOBS = "/api/retraining"
TRIGGERS = f"{JOBS}/triggers"
KINDS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("scheduled", {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}),
    ("drift", {"check_every": "30d"}),
    ("performance", {"check_every": "30d", "max_drop": 0.05}),
)
NEIGHBOURS = 12
"""Creations that the tenth and the last are the median of; of each kind as many."""
LISTINGS = 9
BREACHES = 9
JOB_SECONDS = 30


@asynccontextmanager
async def _facade(home: Path, specs: Sequence[ModelSpec]) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of a facade on a real Prefect server, where the models are deployed and no worker is."""
    with prefect_server(home / "prefect") as prefect:
        async with PrefectOrchestrator(prefect, request_seconds=60) as door:
            await door.deploy(specs, work_pool="nobody")
        settings = Settings(home=home, prefect_api_url=prefect, **UNHURRIED)
        async with serving(create_app(settings, doors=Doors(catalog=Catalog(specs))), seconds=60) as url:
            database = Database(settings.database)
            secret = (await KeyStore(database).create(name="benchmark", scopes=["admin"])).secret
            await database.close()
            headers = {"Authorization": f"Bearer {secret}"}
            async with httpx.AsyncClient(
                base_url=url, headers=headers, timeout=60, trust_env=False
            ) as client:
                yield client


async def _create(client: httpx.AsyncClient, models: Sequence[str], count: int) -> list[tuple[float, str]]:
    """Seconds and id of each trigger, one after the other: every kind and every model in turn."""
    made = []
    for number in range(count):
        kind, condition = KINDS[number % len(KINDS)]
        wanted = {
            "model_name": models[number % len(models)],
            "trigger_type": kind,
            "trigger_condition": condition,
        }
        began = time.perf_counter()
        answer = await client.post(TRIGGERS, json=wanted)
        made.append((time.perf_counter() - began, answer.raise_for_status().json()["id"]))
    return made


async def _list(client: httpx.AsyncClient, limit: int) -> float:
    """Median seconds of a listing."""
    seconds = []
    for _ in range(LISTINGS):
        began = time.perf_counter()
        (await client.get(TRIGGERS, params={"limit": limit})).raise_for_status()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


async def _breach(client: httpx.AsyncClient, trigger_id: str) -> tuple[float, float]:
    """Seconds from reporting a breach until Prefect has its job, and until the API shows it."""
    model = (await client.get(f"{TRIGGERS}/{trigger_id}")).raise_for_status().json()["model_name"]
    reported, began = datetime.now(UTC), time.perf_counter()
    (await client.post(f"{TRIGGERS}/{trigger_id}/fire", json={"reason": "benchmark"})).raise_for_status()
    jobs: list[dict[str, Any]] = []
    while not jobs:
        if time.perf_counter() - began > JOB_SECONDS:
            raise TimeoutError(f"no job of {model} after {JOB_SECONDS} s")
        jobs = (await client.get(JOBS, params={"model_name": model})).raise_for_status().json()
    shown = time.perf_counter() - began
    await client.delete(f"{JOBS}/{jobs[0]['id']}")
    return (datetime.fromisoformat(jobs[0]["created_at"]) - reported).total_seconds(), shown


async def _measure(home: Path, triggers: int, models: int) -> list[Line]:
    names = [f"model-{number:03}" for number in range(models)]
    specs = [CHURN.model_copy(update={"name": name}) for name in names]
    async with _facade(home, specs) as client:
        made = await _create(client, names, triggers)
        seconds = [took for took, _ in made]
        print(f"{triggers:,} triggers on {models} models made in {sum(seconds):.0f} s", flush=True)
        listing = await _list(client, min(triggers, 1_000))
        drift = [trigger_id for number, (_, trigger_id) in enumerate(made) if number % len(KINDS) == 1]
        # Of different models: a second breach of one model would join the first one's job.
        breaches = [await _breach(client, trigger_id) for trigger_id in drift[: min(BREACHES, models // 3)]]
    tenth, last = median(seconds[4 : 4 + NEIGHBOURS]), median(seconds[-NEIGHBOURS:])
    created, shown = (median(each) for each in zip(*breaches, strict=True))
    return [
        at_most(f"creating trigger {triggers:,} ({last:.3f} s) / creating the tenth", last / tenth, 1.5),
        at_most(f"listing {triggers:,} triggers of {models} models", 1_000 * listing, 100, "ms"),
        at_most("from a reported breach to its job", created, 1, "s"),
        Line("from a reported breach until the API shows its job", f"{shown:.2f} s"),
    ]


def lines(arguments: Sequence[str] = ()) -> Iterator[Line]:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.triggers", description=__doc__)
    parser.add_argument("--triggers", type=int, default=1_000)
    parser.add_argument("--models", type=int, default=200)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="trigger-bench-") as home:
        yield from asyncio.run(_measure(Path(home), chosen.triggers, chosen.models))


if __name__ == "__main__":
    print_lines([*lines(sys.argv[1:])])
