"""Parameters of lists (page size, cursor, filter), and of ids in paths."""

from typing import Annotated, Any

from fastapi import Path, Query

from worker.store.ids import LENGTH

MAX_NAME_LENGTH = 200
"""Of a path parameter. FastAPI refuses longer ones."""


def _cursor(prefix: str) -> Any:
    """Return a query parameter for an id of the list. The resource may be deleted meanwhile."""
    return Query(pattern=rf"^{prefix}_[0-9a-z]{{{LENGTH}}}$", description="The 'next' of the page before.")


AfterBatch = Annotated[str | None, _cursor("bat")]
AfterDataset = Annotated[str | None, _cursor("ds")]
AfterJob = Annotated[str | None, _cursor("job")]
AfterModel = Annotated[str | None, _cursor("mdl")]
AfterUpload = Annotated[str | None, _cursor("upl")]
AfterPart = Annotated[
    str | None,
    Query(pattern=r"^[0-9]{1,4}\.[0-9]{1,6}$", description="Only parts behind this one: the next of the last page."),
]
AfterLeaf = Annotated[
    str | None, Query(pattern=r"^[0-9]{1,6}$", description="Only leaves behind this one: the next of the last page.")
]
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Filter = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
Id = Annotated[str, Path(max_length=MAX_NAME_LENGTH)]
