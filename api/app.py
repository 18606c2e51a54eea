"""The facade as an application of its own: `uvicorn --factory api.app:create_app`."""

from importlib.metadata import version

from fastapi import FastAPI

from api import system
from api.correlation import install_correlation
from api.errors import install_error_handlers
from api.facade import Doors
from api.logs import AccessLog, configure_logging
from api.router import create_router
from retraining.settings import Settings

DESCRIPTION = """
Start retraining jobs, or have triggers start them; follow them, and decide which version serves.

Every request but `/health` and `/ready` carries an API key: `Authorization: Bearer rt_...` or `X-API-Key`.
Tokens of the configured OpenID Connect issuer come as `Authorization: Bearer` too.
Every error has the shape `ErrorResponse`; its correlation id is in `X-Correlation-ID` and in the logs too.
"""


def create_app(settings: Settings | None = None, *, doors: Doors | None = None) -> FastAPI:
    """The whole facade. `doors` replaces what the settings name: Prefect, MLflow, the catalog.

    Opens nothing: the application's lifespan does, and closes it again.
    """
    configure_logging()
    app = FastAPI(
        title="Model retraining",
        version=version("retraining"),
        summary="Keeps production models fresh.",
        description=DESCRIPTION,
        # Pages that load scripts from elsewhere have no place here; /openapi.json is a route with a key.
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(create_router(settings, doors=doors))
    app.include_router(system.router)
    install_error_handlers(app)
    app.add_middleware(AccessLog)
    install_correlation(app)
    return app
