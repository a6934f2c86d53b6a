"""A service answers to its own names: whoever has another name lead here gets nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from service.app import create_app
from worker.contracts.keys import Scope
from worker.store import keys

PATHS = ("/", "/jobs", "/v1/jobs", "/v1/none", "/v2", "/v2/health/live", "/docs", "/openapi.json", "/livez", "/metrics")
OWN = ("localhost", "LocalHost:1234", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000", "192.0.2.7:8000")
FOREIGN = (
    "evil.example",
    "evil.example:80",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost.",
    "198.51.100.1",
)
MALFORMED = ("localhost:80@evil", "localhost/", "localhost:a", "local host", "localhost,evil", "::1", "[::1", "é")
Open = Callable[..., TestClient]


@pytest.fixture
def asked(settings) -> Iterator[Open]:
    """Makes a client of a service that listens at 192.0.2.7, with these keys and these other names."""
    with ExitStack() as stack:

        def begin(api_keys: Sequence[str] = (), allowed_hosts: Sequence[str] = ()) -> TestClient:
            given = {"api_keys": tuple(map(SecretStr, api_keys)), "allowed_hosts": tuple(allowed_hosts)}
            app = create_app(settings.model_copy(update={"host": "192.0.2.7", **given}))
            return stack.enter_context(TestClient(app, base_url="http://localhost", follow_redirects=False))

        yield begin


@pytest.mark.parametrize("path", PATHS)
def test_without_keys_other_names_are_refused_everywhere(asked: Open, path: str) -> None:
    client = asked()
    for host in FOREIGN:
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 421, host
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "misdirected_request"
        assert host.partition(":")[0] in answer.json()["detail"]
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    for host in OWN:
        assert client.get(path, headers={"Host": host}).status_code in (200, 404), host


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_other_names_are_refused_whatever_is_asked(asked: Open, method: str) -> None:
    answer = asked().request(method, "/v1/jobs", headers={"Host": "evil.example", "Content-Type": "application/json"})
    assert answer.status_code == 421


@pytest.mark.parametrize("host", MALFORMED)
@pytest.mark.parametrize("api_keys", [(), ("a secret",)])
def test_what_is_no_host_is_refused(asked: Open, host: str, api_keys: Sequence[str]) -> None:
    answer = asked(api_keys).get("/livez", headers={"Host": host.encode()})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_target")


def test_with_keys_every_name_is_answered(asked: Open) -> None:
    client = asked(["a secret"])
    headers = {"Host": "models.example", "Authorization": "Bearer a secret"}
    assert client.get("/v1/jobs", headers=headers).status_code == 200
    assert client.get("/v1/jobs", headers={"Host": "models.example"}).status_code == 401


def test_keys_of_the_database_count_too(asked: Open) -> None:
    client = asked()
    database, now = client.app.state.context.database, client.app.state.now()
    _, secret = keys.create(database, project="default", name="mine", scopes=[Scope.READ], now=now)
    headers = {"Host": "models.example", "Authorization": f"Bearer {secret}"}
    assert client.get("/v1/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize("api_keys", [(), ("a secret",)])
def test_named_hosts_are_answered_and_no_others(asked: Open, api_keys: Sequence[str]) -> None:
    client = asked(api_keys, ["models.example", "API"])
    statuses = [
        client.get("/livez", headers={"Host": host}).status_code
        for host in ("models.example:443", "api", "localhost", "192.0.2.7", "evil.example")
    ]
    assert statuses == [200, 200, 200, 200, 421]


def test_the_header_of_a_proxy_changes_nothing(asked: Open) -> None:
    client = asked()
    assert client.get("/livez", headers={"Host": "evil.example", "X-Forwarded-Host": "localhost"}).status_code == 421
    assert client.get("/livez", headers={"X-Forwarded-Host": "evil.example"}).status_code == 200
