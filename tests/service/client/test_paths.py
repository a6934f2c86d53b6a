"""Ids and names stay in their own place of a path, whatever they hold."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from service.client import AsyncClient, Client, Refused
from service.client.calls import path

Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Calls a method of either client, whose requests are played by a function."""

    def run(play: Callable[[httpx.Request], httpx.Response], method: str, *given: Any) -> Any:
        if request.param == "sync":
            with Client("http://service", transport=httpx.MockTransport(play)) as client:
                return getattr(client, method)(*given)

        async def awaited() -> Any:
            async with AsyncClient("http://service", transport=httpx.MockTransport(play)) as client:
                return await getattr(client, method)(*given)

        return asyncio.run(awaited())

    return run


@pytest.mark.parametrize(
    ("part", "quoted"),
    [
        ("houses@2", "houses@2"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a.b", "a.b"),
        ("a?b#c", "a%3Fb%23c"),
        ("50%", "50%25"),
        ("{job}", "%7Bjob%7D"),
        ("é ", "%C3%A9%20"),
    ],
)
def test_a_part_is_quoted(part: str, quoted: str) -> None:
    assert path("/v1/models/{model}/features", model=part) == f"/v1/models/{quoted}/features"


@pytest.mark.parametrize(
    ("method", "given", "asked"),
    [
        ("features", ("..",), "/v1/models/%2E%2E/features"),
        ("delete_dataset", ("..",), "/v1/datasets/%2E%2E"),
        ("delete_job", ("?",), "/v1/jobs/%3F"),
        ("wait", ("a?b",), "/v1/jobs/a%3Fb/events"),
    ],
)
def test_a_name_that_looks_like_a_path_is_asked_for_as_a_name(
    ask: Ask, client: TestClient, method: str, given: tuple[str, ...], asked: str
) -> None:
    found: list[str] = []

    def play(request: httpx.Request) -> httpx.Response:
        found.append(request.url.raw_path.decode())
        answer = client.request(request.method, found[-1])
        return httpx.Response(answer.status_code, content=answer.content, headers={"Content-Type": "application/json"})

    with pytest.raises(Refused) as refused:
        ask(play, method, *given)
    assert (refused.value.status, refused.value.code) == (404, "not_found")
    assert found == [asked]


@pytest.mark.parametrize("part", ["", "../x", "x/features", "/"])
@pytest.mark.parametrize(("method", "what"), [("features", "model"), ("wait", "job"), ("delete_dataset", "dataset")])
def test_a_part_that_can_be_no_name_is_told_and_nothing_is_asked(ask: Ask, method: str, what: str, part: str) -> None:
    with pytest.raises(ValueError, match=f"the {what} is {repr(part) if part else 'empty'}; it must be an id"):
        ask(lambda _: pytest.fail("something was asked"), method, part)


def test_a_version_is_asked_for_as_it_is_written(ask: Ask) -> None:
    def play(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=json.dumps(request.url.raw_path.decode()))

    assert ask(play, "card", "houses@2") == '"/v1/models/houses@2/card"'
