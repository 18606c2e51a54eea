"""One line of the audit log: its table, and what callers ask for and get."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Described
from sqlalchemy import BigInteger, Column, Index, Integer
from sqlmodel import Field

from retraining.store.table import JsonObject, Table, UtcDateTime, Word


class Action(StrEnum):
    """What somebody did, or wanted to."""

    JOB_START = "job.start"
    JOB_CANCEL = "job.cancel"
    TRIGGER_CREATE = "trigger.create"
    TRIGGER_CHANGE = "trigger.change"
    TRIGGER_DELETE = "trigger.delete"
    TRIGGER_CHECK = "trigger.check"
    TRIGGER_FIRE = "trigger.fire"
    VERSION_PROMOTE = "version.promote"
    MODEL_ROLL_BACK = "model.roll-back"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    AUTHENTICATE = "authenticate"
    AUTHORIZE = "authorize"


class Outcome(StrEnum):
    """What came of it. Of an `asked` without another entry it is not known: the process died meanwhile."""

    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


class ActionWord(Word):
    """A column of actions."""

    cache_ok = True
    words = Action


class OutcomeWord(Word):
    """A column of outcomes."""

    cache_ok = True
    words = Outcome


@dataclass(frozen=True)
class Actor:
    """Who acts, and from where."""

    name: str
    """The caller; empty for one who could not be recognised."""
    credential: str = ""
    """By what they were recognised: `key 3f9a...`, `token`, `local`; never a secret."""
    address: str | None = None
    correlation_id: str | None = None


PRODUCT = Actor("retraining", credential="local")
"""The product itself, which makes the first administrator's key."""


class AuditEntry(Table, table=True):
    """Who did what to what, from where, and what came of it. Rows are added, and never change."""

    __tablename__ = "retraining_audit"
    __table_args__ = (
        Index(None, "actor", "id"),
        Index(None, "action", "id"),
        Index(None, "model_name", "id"),
        Index(None, "target", "id"),
        Index(None, "at"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(
        default=None,
        sa_column=Column(
            BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
        ),
    )
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(description="The caller's name; empty for one who could not be recognised.")
    credential: str = Field(description="By what they were recognised: a key's id, a token, locally.")
    address: str | None = Field(default=None, description="Where the request came from.")
    correlation_id: str | None = Field(default=None)
    action: Action = Field(sa_type=ActionWord)
    outcome: Outcome = Field(
        sa_type=OutcomeWord,
        description="`asked` is written before anything is done, `done` or `failed` after it.",
    )
    model_name: str | None = Field(default=None)
    target: str | None = Field(default=None, description="What it was done to: `job 0198...`, `key 3f9a...`.")
    asked_id: int | None = Field(
        default=None,
        sa_type=BigInteger,
        description="Of `done` and `failed`: the entry that was written before.",
    )
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JsonObject)


def entry(
    actor: Actor,
    action: Action,
    outcome: Outcome,
    at: datetime,
    *,
    model_name: str | None = None,
    target: str | None = None,
    asked_id: int | None = None,
    details: dict[str, Any] | None = None,
) -> AuditEntry:
    """A new line."""
    return AuditEntry(
        at=at,
        actor=actor.name,
        credential=actor.credential,
        address=actor.address,
        correlation_id=actor.correlation_id,
        action=action,
        outcome=outcome,
        model_name=model_name,
        target=target,
        asked_id=asked_id,
        details=details or {},
    )


class AuditFilter(BaseModel):
    """Which entries a list shows; None shows all."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    actor: str | None = Described(None, max_length=300, description="Only what this caller did.")
    action: Action | None = Described(None, description="Only this action.")
    outcome: Outcome | None = Described(None, description="Only with this outcome.")
    model_name: str | None = Described(None, max_length=200, description="Only what concerns this model.")
    target: str | None = Described(
        None, max_length=300, description="Only what was done to this: `job 0198...`, `key 3f9a...`."
    )
    correlation_id: str | None = Described(None, max_length=200, description="Only of this request.")
