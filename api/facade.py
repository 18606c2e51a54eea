"""The composition root: every part of the facade, made once and wired to the others."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, cast

from fastapi import Depends, FastAPI, Request

from api.readiness import Readiness, Staffing, in_thread
from retraining.audit.log import AuditLog
from retraining.audit.refusals import Refusals
from retraining.auth.keys import KeyStore
from retraining.auth.signing_keys import SigningKeys
from retraining.auth.tokens import TokenPolicy, Tokens
from retraining.catalog.discovery import Catalog, load_catalog
from retraining.champions import Champions
from retraining.errors import InvalidCatalog
from retraining.jobs.feed import JobFeed
from retraining.jobs.service import JobService
from retraining.jobs.sync import JobSync
from retraining.orchestrator.values import Orchestrator, TriggerOrchestrator
from retraining.rates.limits import RateLimits, limits_of
from retraining.registry.values import Registry
from retraining.settings import Settings
from retraining.store.database import Database
from retraining.triggers.service import TriggerService
from retraining.triggers.sync import TriggerSync


@dataclass(frozen=True)
class Facade:
    """What the routes call."""

    settings: Settings
    catalog: Catalog
    database: Database
    orchestrator: Orchestrator
    registry: Registry
    feed: JobFeed
    sync: JobSync
    jobs: JobService
    triggers: TriggerService
    champions: Champions
    keys: KeyStore
    tokens: Tokens | None
    """None while no issuer is configured."""
    audit: AuditLog
    refusals: Refusals
    rates: RateLimits
    readiness: Readiness
    staffing: Staffing


@dataclass(frozen=True)
class Doors:
    """Parts to use instead of the ones the settings name: fakes in tests, shared ones in a host."""

    catalog: Catalog | None = None
    orchestrator: Orchestrator | None = None
    triggers: TriggerOrchestrator | None = None
    registry: Registry | None = None


@asynccontextmanager
async def running_facade(settings: Settings, doors: Doors) -> AsyncIterator[Facade]:
    """The facade while the block runs: database migrated, jobs followed.

    Neither Prefect nor MLflow need be there at the start.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    async with AsyncExitStack() as stack:
        orchestrator, triggers = await _prefect(settings, doors, stack)
        registry = doors.registry or _mlflow(settings)
        catalog = (
            load_catalog(settings.models, settings.models_path) if doors.catalog is None else doors.catalog
        )
        settings.home.mkdir(parents=True, exist_ok=True)
        database = Database(settings.database, settings.database_busy_seconds)
        stack.push_async_callback(database.close)
        await database.migrate()
        feed = JobFeed(database, places=settings.max_followers)
        sync = JobSync(database, orchestrator, settings, feed)
        keys = KeyStore(database)
        stack.push_async_callback(keys.settle)
        tokens = _tokens(settings)
        if tokens is not None:
            stack.push_async_callback(tokens.close)
        audit = AuditLog(database)
        stack.push_async_callback(audit.settle)
        refusals = Refusals(audit)
        await stack.enter_async_context(refusals.running())
        rates = limits_of(settings)
        stack.push_async_callback(rates.close)
        await stack.enter_async_context(sync.running())
        await stack.enter_async_context(TriggerSync(database, triggers).running())
        yield Facade(
            settings=settings,
            catalog=catalog,
            database=database,
            orchestrator=orchestrator,
            registry=registry,
            feed=feed,
            sync=sync,
            jobs=JobService(database, orchestrator, catalog, settings, feed),
            triggers=TriggerService(database, triggers, catalog),
            champions=Champions(catalog, registry, orchestrator),
            keys=keys,
            tokens=tokens,
            audit=audit,
            refusals=refusals,
            rates=rates,
            readiness=Readiness(
                {
                    "database": database.ping,
                    "prefect": orchestrator.ping,
                    "mlflow": in_thread(registry.ping),
                    "catalog": partial(_check_catalog, catalog),
                }
            ),
            staffing=Staffing(partial(orchestrator.inspect, catalog.names, settings.work_pool)),
        )


def lifespan_of(
    settings: Settings, doors: Doors
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Facade]]]:
    """The lifespan that an application, ours or a host's, runs the facade with."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Facade]]:  # noqa: ARG001 - FastAPI's signature
        async with running_facade(settings, doors) as facade:
            yield {"retraining": facade}

    return lifespan


def facade_of(request: Request) -> Facade:
    """The facade that serves this request."""
    try:
        return cast("Facade", request.state.retraining)
    except AttributeError:
        raise RuntimeError(
            "the facade is not running: the application's lifespan did not run, or dropped its router's state"
        ) from None


async def _facade(request: Request) -> Facade:
    return facade_of(request)


TheFacade = Annotated[Facade, Depends(_facade)]


async def _check_catalog(catalog: Catalog) -> None:
    # One unusable model is no reason to take the others out of service; /ready shows it beside.
    if not len(catalog):
        raise InvalidCatalog("the catalog", "has no usable model")


def _tokens(settings: Settings) -> Tokens | None:
    policy = TokenPolicy.of(settings)
    if policy is None:
        return None
    return Tokens(policy, SigningKeys(policy.issuer, settings.oidc_jwks_url, policy.algorithms))


async def _prefect(
    settings: Settings, doors: Doors, stack: AsyncExitStack
) -> tuple[Orchestrator, TriggerOrchestrator]:
    """Both doors to Prefect, on one connection."""
    if doors.orchestrator is not None and doors.triggers is not None:
        return doors.orchestrator, doors.triggers
    # Seconds of import, which an application with doors of its own need not wait for.
    from retraining.orchestrator.prefect_orchestrator import PrefectOrchestrator

    prefect = await stack.enter_async_context(PrefectOrchestrator(settings.prefect_api))
    return doors.orchestrator or prefect, doors.triggers or prefect.triggers


def _mlflow(settings: Settings) -> Registry:
    from retraining.registry.mlflow_registry import MlflowRegistry

    return MlflowRegistry(settings.mlflow)
