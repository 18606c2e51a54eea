"""What a stack consists of: its servers, where they listen, and what they are told."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from retraining.orchestrator.server import server_environment
from retraining.orchestrator.worker import worker_command, worker_environment
from retraining.settings import Settings
from retraining.stack.component import Component, Health, answers
from retraining.stack.home import Home
from retraining.stack.password import Credentials
from retraining.stack.processes import COMPONENT, STACK
from retraining.stack.stack_file import Addresses

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""No component reports home."""
NOT_INHERITED = frozenset(
    {
        # A person's own Prefect profile and MLflow server are not this stack's.
        *("PREFECT_PROFILE", "PREFECT_PROFILES_PATH", "PREFECT_API_KEY", "PREFECT_UI_API_URL"),
        *("MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"),
        *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH"),
        *(STACK, COMPONENT),
    }
)


PREFECT_DATABASE = frozenset(
    {"PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL"}
)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True)
class Ports:
    """Where the servers listen."""

    api: int
    prefect: int
    mlflow: int


def addresses(host: str, ports: Ports) -> Addresses:
    """Where clients on this machine reach the servers."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - what people pass to --host
    if ":" in reached and not reached.startswith("["):
        reached = f"[{reached}]"
    return Addresses(
        api_url=f"http://{reached}:{ports.api}",
        prefect_api_url=f"http://{reached}:{ports.prefect}/api",
        prefect_ui_url=f"http://{reached}:{ports.prefect}",
        mlflow_url=f"http://{reached}:{ports.mlflow}",
    )


def client_environment(home: Home, where: Addresses, credentials: Credentials) -> dict[str, str]:
    """What the `prefect`, `mlflow` and `retraining` commands need to talk to the stack."""
    return {
        "RETRAINING_HOME": str(home.path),
        "RETRAINING_API_URL": where.api_url,
        **_catalog_environment(home),
        "PREFECT_API_URL": where.prefect_api_url,
        "MLFLOW_TRACKING_URI": where.mlflow_url,
        **credentials.for_prefect,
        **credentials.for_mlflow,
        **QUIET,
    }


def _catalog_environment(home: Home) -> dict[str, str]:
    """Where the models are, for processes that run in other folders than this one."""
    settings = Settings(home=home.path)
    if not settings.models:
        return {}
    return {
        "RETRAINING_MODELS": ",".join(settings.models),
        "RETRAINING_MODELS_PATH": os.pathsep.join(str(folder.absolute()) for folder in settings.models_path),
    }


def stack_environment(home: Home, where: Addresses, credentials: Credentials) -> dict[str, str]:
    """The environment of every component: this process's own, without what points elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    direct = ",".join(filter(None, (kept.get("NO_PROXY"), kept.get("no_proxy"), "127.0.0.1,localhost,::1")))
    return {
        **kept,
        **client_environment(home, where, credentials),
        "RETRAINING_PREFECT_API_URL": where.prefect_api_url,
        "RETRAINING_MLFLOW_URL": where.mlflow_url,
        "PREFECT_HOME": str(home.path / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        # Servers and clients are of one installation. Each client would ask for a token before it writes, a
        # job eight times, and be told that this server wants none.
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": os.environ.get(
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "false"
        ),
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        # On loopback nobody's certificate is asked for, yet each client, eight in a job, would read those of
        # all authorities (17 ms). The key of this one was thrown away.
        "PREFECT_API_SSL_CERT_FILE": str(Path(__file__).with_name("nobody.pem")),
        "RETRAINING_WARM_SOCKETS": str(home.path / "warm"),
        **_absolute_paths(kept),
        # The home has folders called `prefect` and `mlflow`.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def _absolute_paths(environment: Mapping[str, str]) -> dict[str, str]:
    """Paths that were meant from here, for components and jobs that run elsewhere."""
    absolute = {}
    if python_path := environment.get("PYTHONPATH"):
        absolute["PYTHONPATH"] = os.pathsep.join(
            str(Path(folder).absolute()) for folder in python_path.split(os.pathsep)
        )
    sqlite, database = "sqlite+aiosqlite:///", environment.get("RETRAINING_DATABASE_URL", "")
    if database.startswith(sqlite):
        absolute["RETRAINING_DATABASE_URL"] = f"{sqlite}{Path(database.removeprefix(sqlite)).absolute()}"
    return absolute


def components(
    host: str,
    ports: Ports,
    home: Home,
    where: Addresses,
    credentials: Credentials,
    *,
    workers: int,
    work_pool: str,
    warm_start: bool,
) -> list[Component]:
    """Everything that runs, each with what it has to wait for."""
    return [
        _prefect(host, ports.prefect, home, where, credentials),
        _mlflow(host, ports.mlflow, home, where),
        # The key before the facade: it makes the database's schema too, which is done once then.
        Component("keys", _python("retraining.stack.first_key")),
        _api(host, ports.api, where),
        # Started at once: while Prefect comes up, its imports are done.
        Component("deploy", _python("retraining.cli", "deploy", "--wait", "120", "--skip-broken")),
        *_aftermath(host),
        *(
            _worker(name, host, work_pool, where, credentials, warm_start=warm_start)
            for name in worker_names(workers)
        ),
    ]


def _aftermath(host: str) -> list[Component]:
    """For a Prefect that is this stack's alone: elsewhere another machine's workers may run the jobs."""
    own = host in LOOPBACK and not PREFECT_DATABASE & os.environ.keys()
    return [Component("aftermath", _python("retraining.stack.aftermath"), needs=("prefect",))] if own else []


def worker_names(workers: int) -> list[str]:
    """The names of that many workers."""
    return [f"worker-{number}" for number in range(1, workers + 1)]


def _prefect(host: str, port: int, home: Home, where: Addresses, credentials: Credentials) -> Component:
    database = f"sqlite+aiosqlite:///{home.path / 'prefect' / 'prefect.db'}"
    given = PREFECT_DATABASE & os.environ.keys()
    own_database = {} if given else {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database}
    return Component(
        "prefect",
        _python("retraining.stack.prefect_server", "start", "--host", host, "--port", str(port)),
        environment={
            **server_environment(),
            **own_database,
            "PREFECT_SERVER_API_AUTH_STRING": str(credentials),
        },
        health=answers(f"{where.prefect_api_url}/health"),
    )


def _mlflow(host: str, port: int, home: Home, where: Addresses) -> Component:
    database = os.environ.get("MLFLOW_BACKEND_STORE_URI") or f"sqlite:///{home.path / 'mlflow' / 'mlflow.db'}"
    artifacts = os.environ.get("MLFLOW_ARTIFACTS_DESTINATION") or str(home.path / "mlflow" / "artifacts")
    return Component(
        "mlflow",
        _python(
            *("mlflow", "server", "--app-name", "retraining"),
            *("--host", host, "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", database, "--artifacts-destination", artifacts),
        ),
        # Its job execution is for evaluating language models: eight more processes that nobody here needs.
        environment={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        health=answers(f"{where.mlflow_url}/health"),
    )


def _api(host: str, port: int, where: Addresses) -> Component:
    return Component(
        "api",
        _python(
            *("uvicorn", "--factory", "api.app:create_app", "--host", host, "--port", str(port)),
            # The facade's settings say whose X-Forwarded-For is believed; uvicorn believes loopback.
            "--no-proxy-headers",
            # Followers of live events would keep it open for ever.
            *("--timeout-graceful-shutdown", "2"),
        ),
        needs=("keys",),
        health=answers(f"{where.api_url}/health"),
    )


def _worker(
    name: str, host: str, work_pool: str, where: Addresses, credentials: Credentials, *, warm_start: bool
) -> Component:
    return Component(
        name,
        tuple(worker_command(work_pool, name, warm_start=warm_start)),
        environment={
            # By default OpenMP's threads spin while they wait for each other: two trainings at once on two
            # busy cores took 13 times as long as with threads that sleep.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
            **worker_environment(),
        },
        needs=("deploy", "aftermath") if _aftermath(host) else ("deploy",),
        health=_polls(f"{where.prefect_api_url}/work_pools/{work_pool}/workers/filter", name, credentials),
        runs_jobs=True,
    )


def _polls(workers_url: str, name: str, credentials: Credentials) -> Health:
    """Healthy once Prefect has heard of the worker since the stack was planned.

    Plain REST: the supervisor is spared the 100 MB of Prefect's client.
    """
    planned_at = datetime.now(UTC)
    auth = httpx.BasicAuth(credentials.user, credentials.password)

    async def ask(client: httpx.AsyncClient) -> bool:
        answer = await client.post(workers_url, json={}, auth=auth)
        return answer.is_success and any(
            worker["name"] == name and datetime.fromisoformat(worker["last_heartbeat_time"]) > planned_at
            for worker in answer.json()
        )

    return ask


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)
