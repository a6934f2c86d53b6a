"""Every answer carries the headers that keep a browser from doing more than it was asked for."""

import re

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from service.app import create_app
from service.http.middleware.security_headers import ALWAYS, DATA_POLICY, PAGE_POLICY
from service.settings import ServiceSettings

CALLS = {
    200: ("GET", "/v1/jobs"),
    404: ("GET", "/nothing"),
    405: ("PUT", "/v1/jobs"),
    413: ("POST", "/v1/jobs"),
    415: ("POST", "/v1/datasets"),
    422: ("GET", "/v1/jobs?limit=0"),
}


@pytest.mark.parametrize("status", CALLS)
def test_an_answer_of_any_status_is_marked_and_kept_by_no_cache(client: TestClient, status: int) -> None:
    method, path = CALLS[status]
    answer = client.request(method, path, content=b"x" * 200_000 if status == 413 else None)
    assert answer.status_code == status
    assert ALWAYS.items() <= {name: answer.headers.get(name) for name in ALWAYS}.items()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"] == DATA_POLICY
    assert "strict-transport-security" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")], "no other origin may read"


def test_a_refusal_and_a_fault_are_marked_too(settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("postgresql://factrfm:secret@db/")

    monkeypatch.setattr("service.routes.jobs.jobs.list_page", broken)
    locked = settings.model_copy(update={"api_keys": (SecretStr("the-key"),)})
    with TestClient(create_app(locked), raise_server_exceptions=False) as client:
        refused = client.get("/v1/jobs")
        fault = client.get("/v1/jobs", headers={"Authorization": "Bearer the-key"})
    assert (refused.status_code, fault.status_code) == (401, 500)
    for answer in (refused, fault):
        assert ALWAYS.items() <= {name: answer.headers.get(name) for name in ALWAYS}.items()
        assert answer.headers["x-request-id"]
        assert answer.headers["cache-control"] == "no-store"
    assert "secret" not in fault.text
    assert "Traceback" not in fault.text


def test_tls_is_insisted_on_when_the_setting_says_so(settings: ServiceSettings) -> None:
    with TestClient(create_app(settings.model_copy(update={"hsts_seconds": 600}))) as client:
        assert client.get("/livez").headers["strict-transport-security"] == "max-age=600"


def test_what_is_kept_is_compared_each_time_and_is_for_one_caller(client: TestClient, dataset: str) -> None:
    answer = client.get(f"/v1/datasets/{dataset}/content")
    assert answer.headers["cache-control"] == "private, no-cache"
    assert {"Authorization", "Cookie"} <= set(answer.headers["vary"].split(", "))
    again = client.get(f"/v1/datasets/{dataset}/content", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["etag"]) == (304, answer.headers["etag"])
    assert again.headers["cache-control"] == "private, no-cache"


def test_the_reference_loads_everything_from_the_service_itself(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-security-policy"] == PAGE_POLICY
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 4
    for address in loaded:
        assert "//" not in address
        if not address.startswith("data:"):
            answer = client.get(f"/{address}")
            assert answer.status_code == 200
            kind = "text/css" if address.endswith(".css") else "text/javascript"
            assert answer.headers["content-type"].startswith(kind)
    assert "unsafe" not in PAGE_POLICY
    assert not re.search(r"<script>|<style|\son\w+=|style=", page.text), "nothing is inline"


def test_a_path_is_answered_where_it_is_and_never_by_a_redirect(client: TestClient) -> None:
    for host, status in (("testserver", 404), ("attacker.example", 421)):
        answer = client.get("/v1/jobs/", headers={"Host": host}, follow_redirects=False)
        assert answer.status_code == status
        assert "location" not in answer.headers
