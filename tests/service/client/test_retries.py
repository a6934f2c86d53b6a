"""What a client asks again, and what it does not. The network is played by a function."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import AsyncClient, Client, NotReached, Refused
from service.client import retries as policy

JOB = {
    "id": "job_1",
    "kind": "fit",
    "state": "queued",
    "attempt": 0,
    "progress": {},
    "dataset": "ds_1",
    "request": {},
    "created_at": "2026-01-01T00:00:00Z",
    "a_field_of_a_later_version": 1,
}
Play = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "FIRST_PAUSE", 0.0)


@pytest.fixture(params=["sync", "async"])
def submit(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Submits a job through either client."""

    def run(play: Play, **options: Any) -> Any:
        if request.param == "sync":
            with Client("http://service", transport=httpx.MockTransport(play), **options) as client:
                return client.submit({"kind": "fit"})

        async def awaited() -> Any:
            async with AsyncClient("http://service", transport=httpx.MockTransport(play), **options) as client:
                return await client.submit({"kind": "fit"})

        return asyncio.run(awaited())

    return run


class Answers:
    """Plays answers one after another and remembers the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"detail": "why", "code": code}, headers=headers)


@pytest.mark.parametrize(
    "passing",
    [
        lambda: httpx.ConnectError("nobody listens"),
        lambda: httpx.ReadTimeout("silence"),
        lambda: httpx.RemoteProtocolError("cut"),
        lambda: problem(503, "unavailable", **{"Retry-After": "0"}),
        lambda: problem(429, "queue_full", **{"Retry-After": "0"}),
        lambda: problem(409, "request_in_flight", **{"Retry-After": "0"}),
        lambda: httpx.Response(502, text="a proxy"),
    ],
    ids=["connect", "timeout", "cut", "503", "429", "in flight", "proxy"],
)
def test_what_may_pass_is_asked_again_with_the_same_key(submit: Callable[..., Any], passing: Any) -> None:
    play = Answers(passing(), httpx.Response(202, json=JOB))
    assert submit(play).id == "job_1"
    first, again = play.requests
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"]
    assert first.content == again.content


@pytest.mark.parametrize(
    ("status", "code"), [(422, "invalid_request"), (409, "conflict"), (401, "unauthorized"), (500, "internal")]
)
def test_what_stands_is_an_error_at_once(submit: Callable[..., Any], status: int, code: str) -> None:
    play = Answers(problem(status, code))
    with pytest.raises(Refused, match="why") as refused:
        submit(play)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_tries_have_an_end(submit: Callable[..., Any]) -> None:
    play = Answers(*[httpx.ConnectError("nobody listens")] * 3)
    with pytest.raises(NotReached, match="nobody listens"):
        submit(play, retries=2)
    assert play.answers == []


def test_a_long_retry_after_is_the_callers_to_wait_for(submit: Callable[..., Any]) -> None:
    with pytest.raises(Refused):
        submit(Answers(problem(429, "queue_full", **{"Retry-After": "3600"})))


def test_a_delete_whose_answer_was_lost_has_happened() -> None:
    play = Answers(httpx.ReadError("cut"), problem(404, "not_found"))
    with Client("http://service", transport=httpx.MockTransport(play)) as client:
        client.delete_job("job_1")
    play = Answers(problem(404, "not_found"))
    with Client("http://service", transport=httpx.MockTransport(play)) as client, pytest.raises(Refused):
        client.delete_job("job_1")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://service", "http://", "nonsense"])
def test_an_address_that_cannot_be_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(url)


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="key") as refused:
        Client("http://service", "secret\nkey")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_try_sends_the_whole_file_and_closes_it(
    kind: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"x,y\n" + b"1,2\n" * 400_000)
    opened = []
    plain_open = Path.open

    def remembered(self: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(plain_open(self, *arguments, **options))
        return opened[-1]

    monkeypatch.setattr(Path, "open", remembered)
    busy = problem(503, "not_ready", **{"Retry-After": "0"})
    play = Answers(httpx.ReadError("cut"), busy, problem(422, "unreadable"))
    client = kind("http://service", transport=httpx.MockTransport(play))
    with pytest.raises(Refused):
        _ = client.upload(path) if kind is Client else asyncio.run(client.upload(path))
    assert [len(request.content) for request in play.requests] == [path.stat().st_size] * 3
    assert len(opened) == 5, "once to see that it is there, and once how long it is"
    assert all(file.closed for file in opened)
