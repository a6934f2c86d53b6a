"""The leaves of a model that was fitted by blocks."""

from typing import TYPE_CHECKING

from fastapi import APIRouter

from service.http.pagination import AfterLeaf, Limit
from service.http.problems import problems
from service.routes.parameters import Ref
from service.runtime.context import CurrentContext
from service.runtime.predictor import ModelEntry
from worker.contracts.resources import Leaf, Page

if TYPE_CHECKING:
    from worker.serving.model import ServedModel

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("/{ref}/leaves", responses=problems(404, 409))
async def get_leaves(context: CurrentContext, ref: Ref, limit: Limit = 50, after: AfterLeaf = None) -> Page[Leaf]:
    """List the leaves of a model that was fitted by blocks, each with its rule: the cuts that lead to it, its side.

    They come in the order of the tree: leaves beside each other share their first cuts. A page has fewer leaves than
    ``limit`` where rules are long. A model that is one kernel machine has no leaves: 409.
    """

    def page(_: ModelEntry, model: "ServedModel") -> Page[Leaf]:
        from worker.serving.leaf_map import leaf_page  # see service.runtime.predictor

        return leaf_page(model, limit=limit, after=None if after is None else int(after))

    with context.predictor.admission():
        return await context.predictor.use(context.database, ref, page)
