"""The facade with its own real database and socket, and Prefect and MLflow played by the doors' fakes."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from api.app import create_app
from api.facade import Doors
from retraining.auth.caller import Scope
from retraining.auth.keys import KeyStore
from retraining.catalog.discovery import Catalog
from retraining.errors import InvalidCatalog
from retraining.settings import Settings
from retraining.store.database import Database
from tests.api.models import MODELS
from tests.api.serving import UNHURRIED, serving
from tests.orchestrator.fake import FakeOrchestrator
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.registry.fake import FakeRegistry


class Api:
    """A facade that is served, and what its tests reach for."""

    def __init__(self, url: str, settings: Settings, doors: "FakeDoors", stack: AsyncExitStack) -> None:
        self.url = url
        self.settings = settings
        self.prefect = doors.prefect
        self.triggers = doors.triggers
        self.registry = doors.registry
        self.database = Database(settings.database, settings.database_busy_seconds)
        self.keys = KeyStore(self.database)
        self._stack = stack
        stack.push_async_callback(self.database.close)
        stack.push_async_callback(self.keys.settle)

    async def client(self, *scopes: Scope | str, name: str = "tester", **headers: str) -> httpx.AsyncClient:
        """A client with a new key that has these scopes; without any, a client without a key."""
        if scopes:
            new = await self.keys.create(name=name, scopes=scopes, shares_name=True)
            headers["Authorization"] = f"Bearer {new.secret}"
        return await self._stack.enter_async_context(
            httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20, trust_env=False)
        )


class FakeDoors:
    """Prefect and MLflow, played."""

    def __init__(self, *problems: InvalidCatalog) -> None:
        self.prefect = FakeOrchestrator()
        self.triggers = FakeTriggers()
        self.registry = FakeRegistry()
        self.catalog = Catalog(MODELS, problems)

    @property
    def doors(self) -> Doors:
        return Doors(
            catalog=self.catalog,
            orchestrator=self.prefect,
            triggers=self.triggers,
            registry=self.registry,
        )


def settings_in(home: Path) -> Settings:
    return Settings(
        home=home,
        prefect_api_url="http://prefect.test/api",
        mlflow_url="http://mlflow.test",
        database_busy_seconds=10,
        **UNHURRIED,
    )


@asynccontextmanager
async def served(home: Path, fakes: "FakeDoors | None" = None, **changed: object) -> AsyncIterator[Api]:
    """A facade of its own, served; `changed` are settings."""
    fakes, settings = fakes or FakeDoors(), settings_in(home).model_copy(update=changed)
    async with serving(create_app(settings, doors=fakes.doors)) as url, AsyncExitStack() as clients:
        yield Api(url, settings, fakes, clients)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A facade for one test."""
    async with served(tmp_path) as api:
        yield api


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    """A client of it who may do everything."""
    return await api.client(Scope.ADMIN, name="ada")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A facade for the tests of a module that leave it as it was."""
    async with served(tmp_path_factory.mktemp("facade")) as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_admin(shared_api: Api) -> httpx.AsyncClient:
    """A client of it who may do everything."""
    return await shared_api.client(Scope.ADMIN, name="ada")
