"""The routes of API keys: make, list, revoke. For administrators."""

import re
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import ConfigDict, Field

from api.authentication import Admin
from api.errors import documented, shortened
from api.facade import TheFacade
from api.jobs import Message
from api.links import NEXT_PAGE, link_next_page
from api.route import FacadeRoute, by_name
from api.schemas import Sent, Storable, Taken
from api.trail import TheTrail
from retraining.auth.caller import Role, Scope
from retraining.auth.errors import KeyNotFound
from retraining.auth.key import MAX_MODELS, ApiKey
from retraining.catalog.spec import ModelName
from retraining.jobs.job import AwareMoment

router = APIRouter(
    prefix="/keys",
    route_class=FacadeRoute,
    generate_unique_id_function=by_name,
    strict_content_type=False,
    tags=["keys"],
)

LAST_ADMINISTRATOR = (
    "no administrator's key can be used any more; make one on the server: "
    "retraining key create NAME --role admin"
)
_FORM = re.compile(r"[0-9a-f]{12}")


class KeyPublic(Sent):
    """An API key as it is shown: never the secret."""

    id: str = Field(description="The public part of the key: it begins with `rt_` and this.")
    name: str = Field(description="Who or what it is for; `triggered_by` shows it.")
    scopes: list[Scope]
    models: list[str] | None = Field(description="The only models that it opens; null for all.")
    created_at: datetime
    expires_at: datetime | None = Field(description="Null if it never expires.")
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Within a minute.")

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """From the key's row."""
        return cls.model_validate({name: getattr(key, name) for name in KeyPublic.model_fields})


class KeyMade(KeyPublic):
    """A new key with its secret, which exists nowhere else and is shown this once."""

    secret: str = Field(description="What the caller sends.")


class KeyRequest(Taken):
    """A key to be made: a role, scopes, or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "nightly", "role": "operator", "models": ["churn"]},
                {"name": "release", "scopes": ["read", "promote"], "expires_at": "2099-01-01T00:00:00Z"},
            ]
        }
    )

    name: Storable = Field(min_length=1, max_length=100, description="No other usable key has it.")
    role: Role | None = Field(None, description="viewer, operator or admin: a name for scopes.")
    scopes: list[Scope] = Field([], max_length=len(Scope), description="What it may do, beside the role.")
    models: list[ModelName] | None = Field(
        None, max_length=MAX_MODELS, description="The only models that it opens; all of them if null."
    )
    expires_at: AwareMoment | None = Field(None, description="Never expires if null.")


async def _key_id_in_path(
    key_id: Annotated[str, Path(description="The id from the list, without `rt_`.")],
) -> str:
    if not _FORM.fullmatch(key_id):
        raise KeyNotFound(shortened(key_id[:12]))
    return key_id


@router.post("", status_code=201, responses=documented(400, 409, 413, 415))
async def create_retraining_key(
    wanted: KeyRequest, response: Response, facade: TheFacade, trail: TheTrail, _: Admin
) -> KeyMade:
    """Make an API key; the answer holds its secret, this once. Needs the scope `admin`."""
    new = await facade.keys.create(
        name=wanted.name,
        scopes=[*wanted.scopes, *([wanted.role] if wanted.role else [])],
        expires_at=wanted.expires_at,
        models=wanted.models,
        by=trail.actor,
    )
    response.headers["Cache-Control"] = "no-store"
    return KeyMade(**dict(KeyPublic.of(new.key)), secret=new.secret)


@router.get("", responses={200: NEXT_PAGE, **documented()})
async def list_retraining_keys(
    *,
    request: Request,
    response: Response,
    facade: TheFacade,
    _: Admin,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> list[KeyPublic]:
    """List API keys, newest first, revoked ones too. Needs the scope `admin`."""
    keys = (await facade.keys.list())[offset:]
    if len(keys) > limit:
        link_next_page(request, response, offset=offset + limit)
    return [KeyPublic.of(key) for key in keys[:limit]]


@router.delete("/{key_id}", responses=documented(404))
async def revoke_retraining_key(
    _: Admin, key_id: Annotated[str, Depends(_key_id_in_path)], facade: TheFacade, trail: TheTrail
) -> Message:
    """Revoke an API key; again is harmless. Needs the scope `admin`.

    Every process refuses it within two seconds. The message warns if no administrator's key is left.
    """
    key = await facade.keys.revoke(key_id, by=trail.actor)
    done = f"key {key.id} ({key.name}) is revoked"
    return Message(message=done if await facade.keys.has_administrator() else f"{done}; {LAST_ADMINISTRATOR}")
