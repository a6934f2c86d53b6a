"""What the form of one row begins with is a row of the table, to the last space and line break."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import expect
from support.browsing import Desk

CATEGORIES = ["a\nb", "a\n\nb", "b\r\nc", "b\rc", "d\te", 'f"<i>', "g, h", "1.50", "NaN", "null", "true", "é\u2028ß"]
PLAIN = {"encoding": "plain", "feature_matrix": "full", "exponent": 1, "iterations": 1}


@pytest.fixture(scope="module")
def dataset(desk: Desk) -> str:
    """A table with a column for each category, which half of its rows have."""
    rows = 40
    columns: dict[str, Any] = {
        f"c{k}": [text if row % 2 else f"other {row % 3}" for row in range(rows)] for k, text in enumerate(CATEGORIES)
    }
    columns["y"] = [float(row % 2) + row / 100 for row in range(rows)]
    body = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), body)
    answer = desk.system.client.post(
        "/v1/datasets",
        content=body.getvalue().to_pybytes(),
        headers={"Content-Type": "application/vnd.apache.parquet"},
    )
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def test_every_category_goes_through_the_form_as_it_is(desk: Desk, dataset: str) -> None:
    job = desk.system.submit(dataset=dataset, model="texts", spec=PLAIN)
    assert desk.system.wait(job)["state"] == "succeeded"
    page = desk.signed_in()
    page.goto("/models/texts")
    page.wait_for_selector("html[data-ready]")
    with page.expect_request("**/predict") as sent:
        page.locator("form[data-predict]").get_by_role("button", name="Predict").click()
    [row] = sent.value.post_data_json["rows"]
    told = {
        column["name"]: column["top"] for column in desk.system.client.get(f"/v1/datasets/{dataset}").json()["columns"]
    }
    assert row == {name: told[name][0]["value"] for name in row}
    expect(page.locator("form[data-predict] [data-answer]")).to_contain_text("y: ")
    expect(page.locator("form[data-predict] [data-answer]")).not_to_contain_text("no training row")
    assert desk.complaints == []
    page.context.close()


def test_a_category_that_is_typed_is_sent_as_it_is_typed(desk: Desk, dataset: str) -> None:
    page = desk.signed_in()
    page.goto("/models/texts")
    page.wait_for_selector("html[data-ready]")
    form = page.locator("form[data-predict]")
    form.get_by_label("c0", exact=True).fill("two\nlines ")
    form.get_by_label("c4", exact=True).fill(" d\te")
    with page.expect_request("**/predict") as sent:
        form.get_by_role("button", name="Predict").click()
    [row] = sent.value.post_data_json["rows"]
    assert (row["c0"], row["c4"]) == ("two\nlines ", " d\te")
    page.context.close()
