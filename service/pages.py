"""The parameters of lists: newest first, ``limit`` at a time, after an id, of one name."""

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
After = Annotated[
    str | None,
    Query(max_length=200, min_length=1, pattern=r"^[a-z0-9_]*$", description="The 'next' of the page before."),
]
Filter = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
