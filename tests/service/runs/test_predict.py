"""A predict job as a worker's computing process does it, block by block."""

import pytest

from worker.runs import predict
from worker.tables.rows.matching import WrongRow


@pytest.mark.parametrize("cell", ["1e39", "1e300"])
def test_a_row_that_cannot_be_answered_is_named_by_its_number_in_the_dataset(client, model, run_job, monkeypatch, cell):
    monkeypatch.setattr(predict, "BLOCK_ROWS", 10)
    rows = ["3,Bern"] * 37
    rows[25] = f"{cell},Bern"
    body = "size,city\n" + "\n".join(rows)
    dataset = client.post("/v1/datasets", content=body, headers={"Content-Type": "text/csv"}).json()["id"]
    job = client.post("/v1/jobs", json={"kind": "predict", "model": "prices", "dataset": dataset}).json()["id"]
    with pytest.raises(WrongRow, match="row 26 holds numbers so far"):
        run_job(job)
    answer = client.post("/v1/models/prices/predict", content=body, headers={"Content-Type": "text/csv"})
    assert (answer.status_code, answer.json()["detail"].split(" holds")[0]) == (422, "row 26")
