"""A browser that signed in is its key, and no page of another site can make use of that."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from service.app import create_app
from service.http.middleware import browser_sessions
from service.settings import ServiceSettings

KEY = 'naïve; key, with "signs"'
OURS = {"Origin": "http://testserver"}


@pytest.fixture
def browser(settings: ServiceSettings) -> Iterator[TestClient]:
    locked = settings.model_copy(update={"api_keys": (SecretStr(KEY),)})
    with TestClient(create_app(locked), follow_redirects=False) as client:
        yield client


def _sign_in(browser: TestClient, key: str = KEY, **headers: str) -> int:
    return browser.post("/login", data={"key": key, "next": "/jobs"}, headers=headers or OURS).status_code


NEXT = "0" * 26
"""Of a cursor."""


def test_a_page_sends_a_stranger_to_the_form_and_the_form_brings_back(browser: TestClient) -> None:
    answer = browser.get(f"/models?after=mdl_{NEXT}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next=/models%3Fafter%3Dmdl_{NEXT}")
    form = browser.get(answer.headers["location"])
    assert f'value="/models?after=mdl_{NEXT}"' in form.text
    signed_in = browser.post("/login", data={"key": KEY, "next": f"/models?after=mdl_{NEXT}"}, headers=OURS)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, f"/models?after=mdl_{NEXT}")
    assert browser.get(f"/models?after=mdl_{NEXT}").status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(browser: TestClient) -> None:
    answer = browser.post("/login", data={"key": KEY}, headers=OURS)
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert KEY not in cookie


def test_over_https_the_cookie_stays_there(settings: ServiceSettings) -> None:
    locked = settings.model_copy(update={"api_keys": (SecretStr(KEY),)})
    with TestClient(create_app(locked), base_url="https://testserver", follow_redirects=False) as client:
        answer = client.post("/login", data={"key": KEY}, headers={"Origin": "https://testserver"})
        assert "Secure" in answer.headers["set-cookie"].split("; ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Origin": "http://[x"}, 403),
        ({"Origin": "http://testserver"}, 404),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
        ({"Authorization": f"Bearer {KEY}".encode().decode("latin-1")}, 404),
    ],
)
def test_a_cookie_changes_things_only_from_our_own_pages(
    browser: TestClient, headers: dict[str, str], status: int
) -> None:
    assert _sign_in(browser) == 303
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    assert browser.get("/v1/jobs", headers=raw).status_code == 200
    assert browser.post("/v1/jobs/job_1/cancel", headers=raw).status_code == status


def test_a_wrong_header_is_not_mended_by_a_cookie(browser: TestClient) -> None:
    _sign_in(browser)
    assert browser.get("/v1/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_signing_out_ends_it(browser: TestClient) -> None:
    _sign_in(browser)
    assert browser.post("/logout", headers={"Origin": "http://evil.example"}).status_code == 403
    assert browser.get("/jobs").status_code == 200
    assert browser.post("/logout", headers=OURS).headers["location"] == "/login"
    assert browser.get("/jobs").status_code == 303


def test_a_wrong_key_is_said_at_the_form_and_not_repeated(browser: TestClient) -> None:
    answer = browser.post("/login", data={"key": "not it"}, headers=OURS)
    assert answer.status_code == 401
    assert "no key of this service" in answer.text
    assert "not it" not in answer.text
    assert "set-cookie" not in answer.headers
    assert _sign_in(browser, **{"Sec-Fetch-Site": "cross-site"}) == 403


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example", "/\\evil.example", "jobs", "/a\nb"])
def test_signing_in_leads_to_no_other_site(browser: TestClient, place: str) -> None:
    answer = browser.post("/login", data={"key": KEY, "next": place}, headers=OURS)
    assert answer.headers["location"] == "/"


def test_an_open_service_asks_for_no_key(client: TestClient) -> None:
    assert client.get("/login", follow_redirects=False).headers["location"] == "/"
    page = client.get("/")
    assert page.status_code == 200
    assert "Sign out" not in page.text


@pytest.mark.parametrize("value", ["", "%%%", "é", "bm8gdXRmOCD_", "YQ"])
def test_a_cookie_that_is_none_of_ours_is_no_key(browser: TestClient, value: str) -> None:
    headers = {"Cookie": f"{browser_sessions.COOKIE}={value}".encode()}
    assert browser.get("/v1/jobs", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 422),
        (OURS, 422),
        ({"Sec-Fetch-Site": "same-origin"}, 422),
        ({"Origin": "http://[x"}, 403),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", **OURS}, 403),
    ],
)
def test_an_open_service_is_not_changed_by_pages_of_other_sites(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    body = client.post("/v1/jobs", content=b"{}", headers={"Content-Type": "application/json", **headers})
    assert body.status_code == status
    assert client.get("/v1/jobs", headers=headers).status_code == 200
