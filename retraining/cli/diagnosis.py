"""What `retraining doctor` looks at: each check says what it found, and what to do if that is wrong."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from retraining.catalog.discovery import Catalog, load_catalog
from retraining.errors import RetrainingError
from retraining.settings import Settings

if TYPE_CHECKING:
    from retraining.orchestrator.values import Inspection

FREE_BYTES = 1024**3
"""Below this much free disk space, databases and artifacts are in danger."""
ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    remedy: str | None = None
    """None if all is well."""


async def diagnose(settings: Settings) -> list[Finding]:
    """Look at everything, the servers at the same time."""
    catalog = load_catalog(settings.models, settings.models_path)
    servers = await asyncio.gather(_database(settings), _prefect(settings, catalog), _mlflow(settings))
    return [
        *_packages(),
        *_models(catalog),
        _disk(settings.home),
        *(finding for findings in servers for finding in findings),
    ]


def _packages() -> Iterator[Finding]:
    """Every requirement of ours, against what is installed: some newer versions break the others silently."""
    from packaging.requirements import Requirement

    wrong = 0
    for text in requires("retraining") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = "nothing"
        if installed == "nothing" or not requirement.specifier.contains(installed, prereleases=True):
            wrong += 1
            yield Finding(
                f"package {requirement.name}",
                f"{installed} is installed, needs {requirement.specifier}",
                "pip install --require-hashes -r requirements.lock, or "
                f"pip install '{requirement.name}{requirement.specifier}'",
            )
    if not wrong:
        yield Finding("packages", "all within the versions that work together")


def _models(catalog: Catalog) -> Iterator[Finding]:
    yield Finding(
        "models",
        ", ".join(catalog.names) or "none",
        None
        if catalog.names
        else "set RETRAINING_MODELS=package.module:attribute, or install a package of models",
    )
    for problem in catalog.problems:
        yield Finding(
            f"model {problem.origin}", problem.problem, "mend the entry, or take it out of the catalog"
        )


def _disk(home: Path) -> Finding:
    existing = next(folder for folder in (home.absolute(), *home.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    remedy = None if free >= FREE_BYTES else f"make room on the disk of {existing}, or choose another --home"
    return Finding("disk space", f"{free / 1024**3:.1f} GiB free at {existing}", remedy)


async def _database(settings: Settings) -> list[Finding]:
    from retraining.store.database import Database

    remedy = "start the stack once with `retraining up`, or check RETRAINING_DATABASE_URL"
    try:
        database = Database(settings.database, settings.database_busy_seconds)
    except ValueError as exc:
        return [Finding("database", str(exc), remedy)]
    try:
        await database.ping()
    except RetrainingError as exc:
        return [Finding("database", str(exc), remedy)]
    finally:
        await database.close()
    return [Finding("database", "answers and can be written to")]


async def _mlflow(settings: Settings) -> list[Finding]:
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    try:
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS) as client:
            auth = httpx.BasicAuth(user, password) if user else None
            answer = await client.get(f"{settings.mlflow}/version", auth=auth)
        answer.raise_for_status()
    except httpx.HTTPStatusError as exc:
        if exc.response.status_code == httpx.codes.UNAUTHORIZED:
            remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; a stack's are in its cli.env"
            return [Finding("MLflow", f"{settings.mlflow} refuses our credentials", remedy)]
        return [Finding("MLflow", f"{settings.mlflow} answers {exc.response.status_code}", "see its log")]
    except httpx.HTTPError:
        remedy = "start it with `retraining up`, or set RETRAINING_MLFLOW_URL to where it is"
        return [Finding("MLflow", f"no answer at {settings.mlflow}", remedy)]
    server, ours = answer.text, version("mlflow")
    mend = None if server.split(".")[:2] == ours.split(".")[:2] else f"run the server with mlflow {ours}"
    return [Finding("MLflow", f"version {server} at {settings.mlflow}", mend)]


async def _prefect(settings: Settings, catalog: Catalog) -> list[Finding]:
    from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator

    where, pool = settings.prefect_api, settings.work_pool
    try:
        async with PrefectOrchestrator(where) as prefect:
            seen = await prefect.inspect(catalog.names, pool)
    except RetrainingError as exc:
        remedy = "start it with `retraining up`, or set RETRAINING_PREFECT_API_URL to where it is"
        return [Finding("Prefect", f"{where}: {exc}", remedy)]
    ours = version("prefect")
    same = seen.server_version.split(".")[:2] == ours.split(".")[:2]
    return [
        Finding(
            "Prefect",
            f"version {seen.server_version} at {where}",
            None if same else f"run the server with prefect {ours}",
        ),
        Finding(
            "deployments",
            f"missing: {', '.join(seen.missing)}" if seen.missing else "all are there",
            "`retraining deploy`" if seen.missing else None,
        ),
        *(
            Finding(
                f"deployment {name}",
                "is paused",
                f"`prefect deployment resume {name}`, if that was not meant",
            )
            for name in seen.paused
        ),
        _pool(pool, paused=seen.pool_paused),
        _start(settings, seen),
        Finding(
            "workers",
            ", ".join(seen.workers) or f"none is alive in the pool {pool}: jobs wait",
            None if seen.workers else f"`retraining up`, or `prefect worker start --pool {pool}`",
        ),
    ]


def _pool(name: str, *, paused: bool | None) -> Finding:
    if paused is None:
        return Finding("work pool", f"{name} does not exist", "`retraining deploy`")
    if paused:
        return Finding("work pool", f"{name} is paused", f"`prefect work-pool resume {name}`")
    return Finding("work pool", f"{name} is open")


def _start(settings: Settings, seen: "Inspection") -> Finding:
    """Whether jobs start in a fork of a warm interpreter; a job that does not says why in its log."""
    from retraining.warm.command import is_warm_command, warm_command

    command, wanted = seen.pool_command, warm_command() if settings.warm_start else None
    if command is not None and not is_warm_command(command):
        return Finding("start of jobs", f"by the work pool's own command: {command}")
    if command != wanted and seen.pool_paused is not None:
        found = "another way than the settings say" if command is None or wanted is None else "elsewhere"
        return Finding("start of jobs", found, "`retraining deploy`")
    if wanted is None:
        return Finding("start of jobs", "cold, because RETRAINING_WARM_START is off")
    if sys.platform != "linux":
        return Finding("start of jobs", "cold, because only Linux can start them warm")
    return Finding("start of jobs", "warm")
