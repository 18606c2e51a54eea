"""The facade as `retraining up` serves it, on the database that RETRAINING_DATABASE_URL names."""

from fastapi import FastAPI

from api.app import create_app
from api.facade import Doors
from retraining.catalog.discovery import Catalog
from tests.api.models import CHURN
from tests.jobs.history import MODELS, RARE_MODEL, model
from tests.orchestrator.fake import FakeOrchestrator
from tests.orchestrator.fake_triggers import FakeTriggers
from tests.registry.fake import FakeRegistry

NAMES = [*map(model, range(MODELS)), RARE_MODEL]


def alone() -> FastAPI:
    """Without Prefect: what is asked for is in the database."""
    doors = Doors(
        catalog=Catalog([CHURN]),
        orchestrator=FakeOrchestrator(),
        triggers=FakeTriggers(),
        registry=FakeRegistry(),
    )
    return create_app(doors=doors)


def on_prefect() -> FastAPI:
    """Jobs are started on the Prefect server that RETRAINING_PREFECT_API_URL names."""
    specs = [CHURN.model_copy(update={"name": name}) for name in NAMES]
    return create_app(doors=Doors(catalog=Catalog(specs), registry=FakeRegistry()))
