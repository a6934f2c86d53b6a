import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from service.app import create_app


@pytest.fixture
def locked(settings):
    keys = (SecretStr("first-key"), SecretStr("second-key"))
    with TestClient(create_app(settings.model_copy(update={"api_keys": keys}))) as client:
        yield client


def test_every_guarded_call_needs_a_key(locked):
    for path, operations in locked.get("/openapi.json").json()["paths"].items():
        if not path.startswith(("/v1", "/metrics")):
            continue
        for method in operations:
            answer = locked.request(method, path.replace("{", "").replace("}", ""))
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Bearer wrong", "does not know the key"),
        ("Bearer first-key2", "does not know the key"),
        ("Bearer ", "does not know the key"),
        ("Basic first-key", "not understood"),
        ("first-key", "not understood"),
    ],
)
def test_what_is_no_key_is_refused_and_why_is_said(locked, header, words):
    answer = locked.get("/v1/jobs", headers={"Authorization": header})
    assert answer.status_code == 401
    assert words in answer.json()["detail"]
    assert "needs a key" in locked.get("/v1/jobs").json()["detail"]


@pytest.mark.parametrize("key", ["first-key", "second-key"])
def test_any_configured_key_opens(locked, key):
    assert locked.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/docs", "/openapi.json"])
def test_health_and_documents_stay_open(locked, path):
    assert locked.get(path).status_code == 200
