"""A model says which rows and which figure chose its iteration, and where their own figures are too good for it."""

import pytest
from sqlalchemy import update

from worker.store.schema.tables import ModelRow

SINCE = ("chosen_by", "validation_chose", "left_out_chose")
"""What the summary of a model did not hold in earlier versions."""
LEFT_OUT = "on the training rows, each left out of the solve in turn."


@pytest.fixture
def trained(client, dataset, run_job):
    """Returns a model by the changes to the body of its fit."""

    def train(**changes):
        spec = {"iterations": 2, "encoding": "plain", "feature_matrix": "full", **changes.pop("spec", {})}
        body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "chosen", "spec": spec, **changes}
        answer = client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        run_job(answer.json()["id"])
        return client.get("/v1/models/chosen").json()

    return train


def _shown(client):
    """Return what tells people of the model: its page and its card."""
    return [client.get(path).text for path in ("/models/chosen", "/v1/models/chosen/card")]


@pytest.mark.parametrize(
    ("body", "chosen_by", "sentence"),
    [
        ({}, "validation", "{i} of 2 was chosen: it has the least mean squared error on the validation rows."),
        ({"target": "city"}, "validation", "{i} of 2 was chosen: it has the least Brier score on the validation rows."),
        (
            {"validation": {"folds": 2}},
            "folds",
            "{i} was chosen: it has the least mean squared error on the rows held out, averaged over the folds.",
        ),
        (
            {"validation": {"folds": 2}, "spec": {"iterations": 0}},
            "folds",
            "{i} is the only one that ran, so there was nothing to choose.",
        ),
        (
            {"validation": None},
            "leave_one_out",
            f"{{i}} of 2 was chosen: it has the least mean squared error {LEFT_OUT}",
        ),
        (
            {"validation": None, "target": ["price", "size"]},
            "leave_one_out",
            f"{{i}} of 2 was chosen: it has the least mean squared error of the standardised targets {LEFT_OUT}",
        ),
        (
            {"validation": None, "spec": {"solver": "cg", "ridge": 1.0}},
            "last",
            "{i} of 2 is the last: without validation rows, nothing tells whether an earlier one is better.",
        ),
        (
            {"validation": None, "spec": {"iterations": 0}},
            "last",
            "{i} is the only one that ran, so there was nothing to choose.",
        ),
    ],
)
def test_which_rows_and_which_figure_chose_the_iteration_is_said(client, trained, body, chosen_by, sentence):
    model = trained(**body)
    assert model["chosen_by"] == chosen_by
    for text in _shown(client):
        assert f"Iteration {sentence.format(i=model['iteration'])}" in text


@pytest.mark.parametrize(
    ("validation", "words"),
    [({"fraction": 0.2}, " by the validation rows in an older version,"), (None, " by an older version,")],
)
def test_a_model_that_was_stored_before_says_that_this_was_not_recorded(client, context, trained, validation, words):
    model = trained(validation=validation)
    record = client.get("/v1/models/chosen").json()
    with context.database.transaction() as session:
        row = session.get(ModelRow, model["id"])
        before = {name: value for name, value in row.summary.items() if name not in SINCE}
        session.execute(update(ModelRow).where(ModelRow.id == model["id"]).values(summary=before))
    assert client.get("/v1/models/chosen").json()["chosen_by"] is None
    for text in _shown(client):
        assert f"Iteration {record['iteration']} of 2 was chosen{words} which did not record by which figure." in text


def test_figures_of_rows_left_out_say_that_these_rows_also_chose(client, trained):
    model = trained(validation=None)
    told = "also chose the exponent, the ridge and the iteration, so their figures are a little too good."
    assert model["left_out_chose"] == ["exponent", "ridge", "iteration"]
    assert model["validation_chose"] == []
    page, card = _shown(client)
    assert f"Training rows, left out in turn, {told}" in page
    assert f"Training rows, left out in turn, {told}" in card
    assert "| leave_one_out_rmse, rows also chose |" in card
    assert "| train_rmse |" in card
    job = client.get(f"/v1/jobs/{model['job']}").json()
    assert job["left_out_chose"] == ["exponent", "ridge", "iteration"]
    assert told in client.get(f"/jobs/{model['job']}").text
    assert client.get("/v1/models/chosen/features/history").json()["left_out_chose"] == model["left_out_chose"]
    for path in ("/", "/models", "/jobs", "/compare"):
        assert "rows also chose" in client.get(path).text, path


def test_rows_left_out_that_chose_nothing_say_nothing(client, trained):
    closed = {"ridge": 0.1, "exponent": 1.0, "update": "none"}
    assert trained(validation=None, spec=closed)["left_out_chose"] == []
    assert not any("also chose" in text for text in _shown(client))
    one = trained(validation=None, spec={**closed, "ridge": "auto"})
    assert one["left_out_chose"] == ["ridge"]
    assert trained(spec={"ridge": 0.1})["left_out_chose"] == []
