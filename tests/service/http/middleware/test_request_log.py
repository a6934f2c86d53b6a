import asyncio


def test_a_sane_request_id_is_echoed_and_another_is_replaced(client):
    assert client.get("/livez", headers={"X-Request-ID": "abc-1.2"}).headers["x-request-id"] == "abc-1.2"
    for given in ("two words", "a" * 200, ""):
        made = client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"]
        assert made != given
        assert len(made) == 32


def test_requests_are_counted_by_route_template(client):
    client.get("/v1/jobs/job_unknown")
    assert 'route="/v1/jobs/{job_id}",status="404"' in client.get("/metrics").text


def test_a_body_that_is_too_long_is_refused_with_and_without_a_length(client):
    long = b"x" * 200_000

    def pieces():
        yield long

    for content in (long, pieces()):
        answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413, answer.text
        assert answer.json()["code"] == "body_too_large"
    upload = client.post("/v1/datasets", content=b"a,b\n" + b"1,2\n" * 300_000, headers={"Content-Type": "text/csv"})
    assert upload.status_code == 413


def test_readiness_names_what_is_out_of_reach(client):
    answer = client.get("/readyz")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert [checks[name]["ok"] for name in ("database", "redis", "storage")] == [True, False, True]


def test_a_request_that_a_stopping_server_ends_is_told_to_come_back(client):
    async def slow():
        raise asyncio.CancelledError

    client.app.get("/slow")(slow)
    answer = client.get("/slow")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
