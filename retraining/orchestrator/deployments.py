"""The deployments `retrain/<model>` and `monitor/<model>`, the same that `prefect deploy --all` makes."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from retraining.orchestrator.connection import PrefectConnection
from retraining.orchestrator.labels import MONITOR_FLOW_NAME
from retraining.orchestrator.schedules import find_deployment, plan_runs
from retraining.orchestrator.values import Deployed
from retraining.orchestrator.worker import HEARTBEAT_SECONDS, HEARTBEAT_SETTING
from retraining.warm.command import is_warm_command, warm_command

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

    from retraining.catalog.spec import ModelSpec

ENTRYPOINTS = ("flows.retrain.retrain", "flows.monitor.monitor")
"""Names of modules, not of files: a worker imports them wherever the package is installed."""


async def deploy(
    connection: PrefectConnection,
    specs: "Iterable[ModelSpec]",
    *,
    work_pool: str,
    warm_start: bool | None = None,
) -> list[Deployed]:
    """Make or renew the deployments of each model, and the work pool if it is missing.

    What people add in Prefect stays: schedules, job variables, a pause, changes of the pool. A deployment
    that is as it should be is not touched, so that its planned runs stay too. None is ever deleted.

    `warm_start` says how the pool's jobs start (see `retraining.warm`); None leaves that as it is.

    Raises:
        OrchestratorUnavailable: the server does not answer; calling again goes on where this call stopped.
        OrchestratorRefused: the server does not accept a deployment, with its reason.
    """
    # Importing the flows imports what training needs: seconds, which the event loop can use.
    flows = await asyncio.to_thread(_load_flows)
    await connection.ask(
        f"make work pool {work_pool}", lambda client: _ensure_work_pool(client, work_pool, warm_start)
    )
    return [
        await _deploy_one(connection, flow, entrypoint, spec, work_pool)
        for spec in specs
        for entrypoint, flow in flows.items()
    ]


def _load_flows() -> dict[str, Flow[..., Any]]:
    return {
        entrypoint: load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        for entrypoint in ENTRYPOINTS
    }


async def _ensure_work_pool(client: "PrefectClient", name: str, warm_start: bool | None) -> None:
    from prefect.workers.process import ProcessWorker

    try:
        found = await client.read_work_pool(name)
        ours = warm_start is not None and found.type == ProcessWorker.type
        if ours and _set_command(found.base_job_template, warm_start=bool(warm_start)):
            await client.update_work_pool(name, WorkPoolUpdate(base_job_template=found.base_job_template))
    except ObjectNotFound:
        template = _job_template(ProcessWorker.get_default_base_job_template())
        _set_command(template, warm_start=bool(warm_start))
        pool = WorkPoolCreate(
            name=name,
            type=ProcessWorker.type,
            base_job_template=template,
            description="Runs retraining jobs, each in a process of its own.",
        )
        with suppress(ObjectAlreadyExists):  # a worker that has just started makes it as well
            await client.create_work_pool(pool)


def _job_template(template: dict[str, Any]) -> dict[str, Any]:
    """Prefect's own, but a job's output is no pipe to its worker.

    A job outlives a worker that is killed, until it next prints something: the broken pipe would end it. Its
    log reaches Prefect another way.
    """
    template["variables"]["properties"]["stream_output"]["default"] = False
    return template


def _set_command(template: dict[str, Any], *, warm_start: bool) -> bool:
    """Let jobs start warm, or as Prefect starts them; whether that is a change. Others' commands stay."""
    command = template.get("variables", {}).get("properties", {}).get("command", {})
    now, wanted = command.get("default"), warm_command() if warm_start else None
    if now == wanted or not (now is None or is_warm_command(now)):
        return False
    command["default"] = wanted
    return True


async def _deploy_one(
    connection: PrefectConnection,
    flow: Flow[..., Any],
    entrypoint: str,
    spec: "ModelSpec",
    work_pool: str,
) -> Deployed:
    name = f"{flow.name}/{spec.name}"
    wanted = _wanted(flow, entrypoint, spec, work_pool)
    before = datetime.now(UTC)

    async def apply(client: "PrefectClient") -> Deployed:
        try:
            found = await client.read_deployment_by_name(name)
        except ObjectNotFound:
            flow_id = await client.create_flow_from_name(flow.name)
            await client.create_deployment(flow_id, spec.name, **wanted)
            return Deployed(name, "created")
        is_now = _as_it_is(found)
        wanted["job_variables"] = with_heartbeats(found.job_variables)
        changed = {key: value for key, value in wanted.items() if is_now[key] != value}
        if not changed:
            return Deployed(name, "unchanged")
        # Creating it again would update it too, and delete the schedules that people gave it.
        await client.update_deployment(found.id, DeploymentUpdate(**changed))
        return Deployed(name, "updated")

    deployed = await connection.ask(f"deploy {name}", apply)
    if (
        deployed.change == "updated"
        and (found := await find_deployment(connection, flow.name, spec.name)) is not None
    ):
        await plan_runs(connection, found, before)  # the change has deleted what was planned
    return deployed


def _wanted(flow: Flow[..., Any], entrypoint: str, spec: "ModelSpec", work_pool: str) -> dict[str, Any]:
    checks = flow.name == MONITOR_FLOW_NAME
    return {
        "entrypoint": entrypoint,
        "path": None,
        "pull_steps": [],
        "parameters": {"model_name": spec.name},
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "description": _checks(spec) if checks else spec.description or flow.description,
        "version": version("retraining"),
        "tags": ["retraining", f"model:{spec.name}"],
        "work_pool_name": work_pool,
        "job_variables": with_heartbeats({}),
        # Two jobs of one model would compare with the same champion, and two checks of one trigger count the
        # same breaches: the second waits for its turn.
        "concurrency_limit": 1,
        "concurrency_options": ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    }


def with_heartbeats(job_variables: dict[str, Any] | None) -> dict[str, Any]:
    """Job variables with heartbeats as often as Prefect allows; whoever set them otherwise is left alone."""
    given = job_variables or {}
    environment = {HEARTBEAT_SETTING: str(HEARTBEAT_SECONDS), **(given.get("env") or {})}
    return {**given, "env": environment}


def _checks(spec: "ModelSpec") -> str:
    return f"Checks whether the data of {spec.name} has drifted, or its performance has dropped."


def _as_it_is(found: "DeploymentResponse") -> dict[str, Any]:
    limit = found.global_concurrency_limit
    return {
        "entrypoint": found.entrypoint,
        "path": found.path,
        "pull_steps": found.pull_steps or [],
        "parameters": found.parameters,
        "parameter_openapi_schema": found.parameter_openapi_schema,
        "enforce_parameter_schema": found.enforce_parameter_schema,
        "description": found.description,
        "version": found.version,
        "tags": found.tags,
        "work_pool_name": found.work_pool_name,
        "job_variables": found.job_variables,
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": found.concurrency_options,
    }
