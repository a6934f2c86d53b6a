"""Columns that name rows, or cost much, are named at upload and in a dry run, with what they cost."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

ROWS = 400
RANDOM = random.Random(0)
NAMING: dict[str, Callable[[int], str]] = {
    "customer": lambda k: f"{RANDOM.randrange(10**4):04d}-{k:05d}",
    "uuid": lambda k: f"{RANDOM.getrandbits(128):032x}",
    "nearly unique": lambda k: f"name {k // 1.5:.0f}",
    "day": lambda k: f"around {1900 + k // 12}-{k % 12 + 1:02d}-01",
    "moment": lambda k: f"2024-01-{k % 28 + 1:02d}T{k % 24:02d}:{k % 60:02d}:{k:03d}Z",
    "mail": lambda k: f"person{k}@example.org",
    "page": lambda k: f"https://example.org/{k}",
    "note": lambda k: f"the {k}th of some long remarks",
    "row": str,
    "account_id": lambda k: str(k * k + 7),
}
FINE: dict[str, Callable[[int], str]] = {
    "city": lambda k: ("Bern", "Basel", "Chur")[k % 3],
    "shop": lambda k: f"shop {k % 40}",
    "size": lambda k: f"{RANDOM.random():.4f}",
    "price": lambda k: str(k * k % 1009),
    "flag": lambda k: "true" if k % 3 else "false",
    "sold": lambda k: f"{1900 + k // 12}-{k % 12 + 1:02d}-28",
}


def _upload(client: TestClient, columns: dict[str, Callable[[int], str]], rows: int = ROWS) -> dict[str, Any]:
    lines = [",".join([*columns, "y"])]
    lines += [",".join([*(make(k) for make in columns.values()), str(k % 7)]) for k in range(rows)]
    answer = client.post("/v1/datasets", content="\n".join(lines) + "\n", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("name", NAMING)
def test_a_column_that_names_rows_is_named_at_upload_and_in_a_dry_run(client: TestClient, name: str) -> None:
    made = _upload(client, {name: NAMING[name], **FINE})
    body = {"kind": "fit", "dataset": made["id"], "target": "y", "task": "regression"}
    plan = client.post("/v1/jobs?dry_run=true", json=body).json()
    for told in (made["remarks"], client.get(f"/v1/datasets/{made['id']}").json()["remarks"], plan["remarks"]):
        assert len(told) == 1
        assert told[0].startswith(repr(name))
    without = client.post("/v1/jobs?dry_run=true", json={**body, "exclude": [name]}).json()
    assert without["remarks"] == []


def test_the_cost_is_the_columns_that_the_fit_will_have(client: TestClient) -> None:
    made = _upload(client, {"customer": lambda k: f"c{k % 300}", **FINE})
    body = {"kind": "fit", "dataset": made["id"], "target": "y", "task": "regression", "spec": {"encoding": "plain"}}
    plan = client.post("/v1/jobs?dry_run=true", json=body).json()
    wide = plan["encoded_columns"]
    narrow = client.post("/v1/jobs?dry_run=true", json={**body, "exclude": ["customer"]}).json()["encoded_columns"]
    assert f"it makes {wide - narrow} of {wide} encoded columns, 0.9 MiB of 1.1 MiB" in plan["remarks"][0]


def test_columns_as_they_should_be_are_not_told_of(client: TestClient) -> None:
    assert _upload(client, FINE)["remarks"] == []


@pytest.mark.parametrize(("name", "looks"), [("moment", "dates or times"), ("mail", "mail")])
def test_what_the_texts_look_like_is_said(client: TestClient, name: str, looks: str) -> None:
    assert f"that look like {looks}" in _upload(client, {name: NAMING[name]})["remarks"][0]


def test_dates_that_may_be_read_wrongly_are_told_of(client: TestClient) -> None:
    [remark] = _upload(client, {"sold": lambda k: f"{k % 12 + 1:02d}/{k % 9 + 1:02d}/2024"})["remarks"]
    assert remark.startswith("'sold' is read as dates with the month first, and no cell tells whether the day is")
    assert _upload(client, {"sold": lambda k: f"{k % 28 + 1:02d}/{k % 9 + 1:02d}/2024"})["remarks"] == []


def test_the_page_of_a_dataset_has_each_warning_once_in_the_row_of_its_column(client: TestClient) -> None:
    made = _upload(client, {"customer": NAMING["customer"], "mail": NAMING["mail"], "same": lambda _: "x", **FINE})
    page = client.get(f"/datasets/{made['id']}").text
    for name, words in (
        ("customer", "different texts"),
        ("mail", "that look like mail"),
        ("same", "the same in every"),
    ):
        [row] = [row for row in page.split("<tr>") if row.lstrip().startswith(f'<th scope="row">{name}</th>')]
        assert words in row
    assert page.count('role="note"') == 3
    assert page.count("the same in every row") == 1


def test_many_categories_that_come_often_are_told_of_by_their_cost(client: TestClient) -> None:
    [remark] = _upload(client, {"merchant": lambda k: f"m{k % 600}"}, 2400)["remarks"]
    assert remark.startswith("'merchant' has 600 categories: it makes 513 of ")


def test_columns_that_tell_nothing_are_one_sentence(client: TestClient) -> None:
    columns: dict[str, Callable[[int], str]] = {f"c{k}": lambda _: "same" for k in range(30)}
    assert _upload(client, columns)["remarks"] == [
        "'c0', 'c1', 'c2' and 27 more columns hold the same in every row, or nothing, and tell no row from another"
    ]


def test_however_many_columns_are_odd_few_sentences_tell_of_them(client: TestClient) -> None:
    columns: dict[str, Callable[[int], str]] = {f"{'x' * 300}{k}": lambda j: f"text {j}" for k in range(50)}
    told = _upload(client, columns, 60)["remarks"]
    assert len(told) == 11
    assert told[-1] == "40 more columns are like these"
    assert max(map(len, told)) < 500


@pytest.mark.parametrize("columns", [1, 2])
def test_a_first_row_above_unique_texts_is_told_of(client, columns):
    rows = [",".join(f"{'ab'[place]}{number}-word" for place in range(columns)) for number in range(30)]
    body = "\n".join(rows) + "\n"

    def remarks(query):
        answer = client.post(f"/v1/datasets{query}", content=body, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 201, answer.text
        return [one for one in answer.json()["remarks"] if "first row was taken for names" in one]

    [told] = remarks("")
    assert "'a0-word'" in told
    assert "?header=false" in told
    assert remarks("?header=true") == remarks("?header=false") == []


def test_a_dry_run_tells_of_a_first_row_too(client):
    body = "".join(f"{'a' * number},{'b' * number}\n" for number in range(1, 31))
    dataset = client.post("/v1/datasets", content=body, headers={"Content-Type": "text/csv"}).json()["id"]
    job = {"kind": "fit", "dataset": dataset, "target": "b"}
    answer = client.post("/v1/jobs?dry_run=true", json={**job, "task": "classification"})
    assert answer.status_code == 200, answer.text
    assert "first row was taken for names" in answer.json()["remarks"][0]
