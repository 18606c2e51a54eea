"""The routes of models: the catalog, versions, and who is champion."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.authentication import CAN_READ, Admin
from api.errors import documented
from api.facade import TheFacade
from api.links import NEXT_PAGE, link_next_page
from api.route import FacadeRoute, by_name
from api.schemas import ChampionChange, Model, PromotionPublic, PromotionRequest, RollbackRequest, Version

router = APIRouter(
    prefix="/models",
    route_class=FacadeRoute,
    generate_unique_id_function=by_name,
    strict_content_type=False,
    tags=["models"],
)


@router.get("", dependencies=[CAN_READ], responses=documented())
async def list_retraining_models(facade: TheFacade) -> list[Model]:
    """The catalog: every model with its champion. Needs the scope `read`."""
    standings = await asyncio.gather(*(facade.champions.standing(spec.name) for spec in facade.catalog))
    return [Model.of(spec, standing) for spec, standing in zip(facade.catalog, standings, strict=True)]


@router.get("/{model_name}", dependencies=[CAN_READ], responses=documented(404))
async def get_retraining_model(model_name: str, facade: TheFacade) -> Model:
    """One model with its champion. Needs the scope `read`."""
    return Model.of(facade.catalog.get(model_name), await facade.champions.standing(model_name))


@router.get("/{model_name}/versions", dependencies=[CAN_READ], responses={200: NEXT_PAGE, **documented(404)})
async def list_retraining_model_versions(
    *,
    model_name: str,
    request: Request,
    response: Response,
    facade: TheFacade,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> list[Version]:
    """A model's versions, newest first, each with every change that made it champion.

    Needs the scope `read`.
    """
    versions = await facade.champions.versions(model_name, limit=limit, offset=offset)
    if len(versions) == limit:
        link_next_page(request, response, offset=offset + limit)
    return [Version.of(version) for version in versions]


@router.get("/{model_name}/promotions", dependencies=[CAN_READ], responses=documented(404))
async def list_retraining_model_promotions(model_name: str, facade: TheFacade) -> list[PromotionPublic]:
    """Who was champion when, and why: every change, newest first. Needs the scope `read`."""
    return [PromotionPublic.of(one) for one in await facade.champions.promotions(model_name)]


@router.post("/{model_name}/versions/{version}/promote", responses=documented(400, 404, 409, 413, 415))
async def promote_retraining_model_version(
    model_name: str, version: str, facade: TheFacade, caller: Admin, wanted: PromotionRequest | None = None
) -> ChampionChange:
    """Make a version champion; again changes nothing. Needs the scope `admin`."""
    reason = (wanted and wanted.reason) or "promoted by hand"
    promotion = await facade.champions.promote(model_name, version, by=caller.name, reason=reason)
    return ChampionChange.promoted(model_name, version, promotion)


@router.post("/{model_name}/rollback", responses=documented(400, 404, 409, 413, 415))
async def roll_back_retraining_model(
    model_name: str, facade: TheFacade, caller: Admin, wanted: RollbackRequest | None = None
) -> ChampionChange:
    """Make the previous champion champion again. Needs the scope `admin`.

    The champion that leaves becomes the next roll-back's target: say `from_version` to make repeating safe.
    """
    wanted = wanted or RollbackRequest()
    promotion = await facade.champions.roll_back(
        model_name,
        by=caller.name,
        reason=wanted.reason or "rolled back by hand",
        from_version=wanted.from_version,
    )
    return ChampionChange.rolled_back(model_name, promotion)
