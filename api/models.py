"""The routes of models: the catalog, versions, and who is champion."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.authentication import CAN_READ, Promoter, Reader
from api.errors import documented
from api.facade import TheFacade
from api.links import NEXT_PAGE, link_next_page
from api.route import FacadeRoute, by_name
from api.schemas import ChampionChange, Model, PromotionPublic, PromotionRequest, RollbackRequest, Version
from api.trail import TheTrail
from api.visibility import VisibleModel
from retraining.audit.entry import Action

router = APIRouter(
    prefix="/models",
    route_class=FacadeRoute,
    generate_unique_id_function=by_name,
    strict_content_type=False,
    tags=["models"],
)


@router.get("", responses=documented())
async def list_retraining_models(facade: TheFacade, caller: Reader) -> list[Model]:
    """The catalog: every model with its champion. Needs the scope `read`."""
    specs = [spec for spec in facade.catalog if caller.sees(spec.name)]
    standings = await asyncio.gather(*(facade.champions.standing(spec.name) for spec in specs))
    return [Model.of(spec, standing) for spec, standing in zip(specs, standings, strict=True)]


@router.get("/{model_name}", dependencies=[CAN_READ], responses=documented(404))
async def get_retraining_model(model_name: VisibleModel, facade: TheFacade) -> Model:
    """One model with its champion. Needs the scope `read`."""
    return Model.of(facade.catalog.get(model_name), await facade.champions.standing(model_name))


@router.get("/{model_name}/versions", dependencies=[CAN_READ], responses={200: NEXT_PAGE, **documented(404)})
async def list_retraining_model_versions(
    *,
    model_name: VisibleModel,
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
async def list_retraining_model_promotions(
    model_name: VisibleModel, facade: TheFacade
) -> list[PromotionPublic]:
    """Who was champion when, and why: every change, newest first. Needs the scope `read`."""
    return [PromotionPublic.of(one) for one in await facade.champions.promotions(model_name)]


@router.post("/{model_name}/versions/{version}/promote", responses=documented(400, 404, 409, 413, 415))
async def promote_retraining_model_version(
    *,
    caller: Promoter,
    model_name: VisibleModel,
    version: str,
    facade: TheFacade,
    trail: TheTrail,
    wanted: PromotionRequest | None = None,
) -> ChampionChange:
    """Make a version champion; again changes nothing. Needs the scope `promote`."""
    reason = (wanted and wanted.reason) or "promoted by hand"
    deed = trail.deed(
        Action.VERSION_PROMOTE, model_name=model_name, target=f"version {version}", reason=reason
    )
    async with deed as done:
        promotion = await facade.champions.promote(model_name, version, by=caller.name, reason=reason)
        done.details = {"changed": promotion is not None, "previous": promotion and promotion.previous}
    return ChampionChange.promoted(model_name, version, promotion)


@router.post("/{model_name}/rollback", responses=documented(400, 404, 409, 413, 415))
async def roll_back_retraining_model(
    *,
    caller: Promoter,
    model_name: VisibleModel,
    facade: TheFacade,
    trail: TheTrail,
    wanted: RollbackRequest | None = None,
) -> ChampionChange:
    """Make the previous champion champion again. Needs the scope `promote`.

    The champion that leaves becomes the next roll-back's target: say `from_version` to make repeating safe.
    """
    wanted = wanted or RollbackRequest()
    reason = wanted.reason or "rolled back by hand"
    async with trail.deed(Action.MODEL_ROLL_BACK, model_name=model_name, reason=reason) as deed:
        promotion = await facade.champions.roll_back(
            model_name, by=caller.name, reason=reason, from_version=wanted.from_version
        )
        deed.target = None if promotion is None else f"version {promotion.version}"
        deed.details = {"changed": promotion is not None, "previous": promotion and promotion.previous}
    return ChampionChange.rolled_back(model_name, promotion)
