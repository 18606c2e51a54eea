"""User and password of Prefect's and MLflow's servers: without them people would walk around the facade."""

import os
import secrets
from dataclasses import dataclass

from retraining.stack.home import Home, write_private

USER = "retraining"


@dataclass(frozen=True)
class Credentials:
    """A user and a password, the same for both servers."""

    user: str
    password: str

    def __str__(self) -> str:
        return f"{self.user}:{self.password}"

    @property
    def for_prefect(self) -> dict[str, str]:
        """The variables that Prefect's clients read."""
        return {"PREFECT_API_AUTH_STRING": str(self)}

    @property
    def for_mlflow(self) -> dict[str, str]:
        """The variables that MLflow's clients read."""
        return {"MLFLOW_TRACKING_USERNAME": self.user, "MLFLOW_TRACKING_PASSWORD": self.password}

    @staticmethod
    def parsed(text: str) -> "Credentials":
        """Those of `user:password`."""
        user, _, password = text.strip().partition(":")
        return Credentials(user, password)


def credentials_of(home: Home) -> Credentials:
    """Those in the home's `servers.password`, made at the first start.

    A Prefect of one's own settings comes first: PREFECT_SERVER_API_AUTH_STRING, or what clients call
    PREFECT_API_AUTH_STRING.
    """
    own = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or os.environ.get("PREFECT_API_AUTH_STRING")
    if own:
        return Credentials.parsed(own)
    if not home.servers_password.exists():
        write_private(home.servers_password, f"{USER}:{secrets.token_urlsafe(24)}\n")
    return Credentials.parsed(home.servers_password.read_text(encoding="utf-8"))
