"""Labels that float64 has rounded are no labels: they are refused, and told how to be exact."""

import pandas as pd
import pytest

from worker.tables.frames import frame_table

LARGE = 2**53


def _submit(client, column, task, kind="json"):
    rows = [[number, column[number % len(column)]] for number in range(12)]
    if kind == "json":
        answer = client.post("/v1/datasets", json={"columns": ["x", "label"], "rows": rows})
    else:
        text = "x,label\n" + "".join(f"{x},{label}\n" for x, label in rows)
        answer = client.post("/v1/datasets", content=text, headers={"Content-Type": "text/csv"})
    body = {"kind": "fit", "dataset": answer.json()["id"], "target": "label", "task": task}
    return client.post("/v1/jobs?dry_run=true", json=body)


@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize("column", [[LARGE + 1, LARGE + 3, 1.5], [-LARGE - 1, 0.5, 2], [2**64 + 1, 1.5, 2]])
def test_whole_numbers_that_are_rounded_beside_fractions_are_no_labels(client, column, kind):
    answer = _submit(client, column, "classification", kind)
    assert answer.status_code == 422
    assert "'label' holds whole numbers of 2^53 and more beside fractions" in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "/target"


@pytest.mark.parametrize("column", [[LARGE + 1, LARGE + 3, 1], [0.5, 1.5, 2.5], [2**64 + 1, 2**64 + 3, 5]])
def test_exact_labels_are_labels(client, column):
    assert _submit(client, column, "classification").status_code == 200


def test_large_numbers_beside_fractions_are_learned_as_numbers(client):
    assert _submit(client, [LARGE + 1, LARGE + 3, 1.5], "regression").status_code == 200


def test_categories_of_whole_numbers_and_fractions_are_exact():
    categories = pd.Index([LARGE + 1, LARGE + 3, 1.5], dtype=object)
    column = pd.Series(pd.Categorical.from_codes([0, -1, 1, 2], categories))
    found = frame_table(pd.DataFrame({"a": column})).column("a")
    assert found.to_pylist() == [str(LARGE + 1), None, str(LARGE + 3), "1.5"]
