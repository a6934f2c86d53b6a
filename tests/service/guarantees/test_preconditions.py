"""If-Match: nothing is changed unless the state is the one that the caller names (RFC 9110, 13.1.1)."""

import pytest

OTHER = '"' + "0" * 64 + '"'
REFUSED = [
    OTHER,
    "W/{tag}",
    f"{OTHER}, W/{{tag}}",
    "{bare}",
    'p"g6',
    "/",
    '"',
    '""',
    "**",
    '"*"',
    f"*, {OTHER}",
    '"a, b"',
    # a list of no tags: none of them matches
    "",
    " ",
    ",",
    " , ,",
]
TAKEN = ["{tag}", "*", " {tag} ", f"{OTHER}, {{tag}}", f"{OTHER},,{{tag}},", "W/{tag}, {tag}"]


def _tag(client):
    return client.get("/v1/models/prices").headers["ETag"]


def _filled(given, tag):
    return given.replace("{tag}", tag).replace("{bare}", tag.strip('"'))


@pytest.mark.parametrize("given", REFUSED)
def test_what_names_another_state_changes_nothing(client, model, given):
    tag = _tag(client)
    headers = {"If-Match": _filled(given, tag)}
    changed = client.patch("/v1/models/prices", json={"description": "other"}, headers=headers)
    deleted = client.delete(f"/v1/models/{model['id']}", headers=headers)
    for answer in (changed, deleted):
        assert answer.status_code == 412, answer.text
        assert tag in answer.json()["detail"]
    assert _tag(client) == tag


@pytest.mark.parametrize("given", TAKEN)
def test_what_names_the_state_is_done(client, model, given):
    headers = {"If-Match": _filled(given, _tag(client))}
    assert client.patch("/v1/models/prices", json={"description": given}, headers=headers).status_code == 200
    headers = {"If-Match": _filled(given, _tag(client))}
    assert client.delete(f"/v1/models/{model['id']}", headers=headers).status_code == 204


def test_the_document_says_412_of_each_call_that_reads_it(client):
    calls = [call for calls in client.get("/openapi.json").json()["paths"].values() for call in calls.values()]
    reading = [call for call in calls if any(one["name"].lower() == "if-match" for one in call.get("parameters", ()))]
    assert {call["operationId"] for call in reading} == {"change_model", "delete_model"}
    assert [call["operationId"] for call in calls if "412" in call["responses"]] == [
        call["operationId"] for call in reading
    ]
