from starlette.testclient import TestClient

from service.app import create_app
from service.http.middleware.rate_limit import Bucket
from service.settings import ServiceSettings


def test_a_bucket_gives_a_seconds_worth_at_once_and_then_evenly() -> None:
    bucket = Bucket(10, now=0.0)
    assert [bucket.take(0.0) for _ in range(11)] == [True] * 10 + [False]
    assert bucket.take(0.1)
    assert not bucket.take(0.15)
    assert [bucket.take(100.0) for _ in range(11)] == [True] * 10 + [False]


def test_a_slow_rate_still_gives_one() -> None:
    bucket = Bucket(0.5, now=0.0)
    assert [bucket.take(0.0), bucket.take(1.0), bucket.take(2.0)] == [True, False, True]


def test_too_many_requests_are_asked_to_come_back_and_health_is_not_counted(settings: ServiceSettings) -> None:
    with TestClient(create_app(settings.model_copy(update={"requests_per_second": 0.001}))) as client:
        assert client.get("/v1/jobs").status_code == 200
        answer = client.get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/livez").status_code == 200
