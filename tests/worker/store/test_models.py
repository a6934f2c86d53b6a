"""Models are found by id, name and version; a version's number is given once."""

import pytest
from support.clock import START
from support.stored import fit_done, queue_predict, ref, train_model

from worker.contracts.errors import Conflict, InvalidRequest, NotFound
from worker.contracts.requests import ModelChange
from worker.store import jobs, models
from worker.store.database import Database


def test_a_model_is_what_the_fit_said(database: Database) -> None:
    record = models.get(database, train_model(database, START))
    assert record.summary == fit_done().summary
    assert (record.model, record.matrices) == (ref("models/m"), ref("models/m-matrices"))
    model = record.resource
    assert (model.encoded_features, model.bytes, model.sha256) == (1, 10, "0" * 64)
    assert (model.metrics, model.spec, model.created_at) == ({"validation_rmse": 0.5}, {"ridge": 0.1}, START)


def test_a_model_is_found_by_id_name_and_version(database: Database) -> None:
    first, second, other = (train_model(database, START, name=name) for name in ("m", "m", "other"))
    assert models.get(database, first).resource.version == 1
    assert models.get(database, "m").resource.id == second
    assert models.get(database, "m@1").resource.id == first
    assert models.get(database, "m@2").resource.id == second
    assert models.get(database, "other").resource.id == other
    for ref_ in ("none", "m@3", "m@", "m@x", "m@1@1", "m@99999999999999", "m@²", "@1", "m\x00", "M"):
        with pytest.raises(NotFound):
            models.get(database, ref_)


def test_pages_are_newest_first_and_of_one_name_when_asked(database: Database) -> None:
    made = [train_model(database, START, name=name) for name in ("a", "b", "a", "b", "a")]
    page = models.list_page(database, limit=2)
    assert [one.id for one in page.items] == made[:2:-1]
    assert [one.id for one in models.list_page(database, after=page.next).items] == made[2::-1]
    assert [one.id for one in models.list_page(database, name="b").items] == [made[3], made[1]]


def test_the_number_of_a_deleted_version_does_not_come_back(database: Database) -> None:
    train_model(database, START, name="m")
    train_model(database, START, name="m")
    assert models.delete(database, "m@2").resource.version == 2
    assert models.get(database, "m").resource.version == 1
    train_model(database, START, name="m")
    assert models.get(database, "m").resource.version == 3
    with pytest.raises(NotFound):
        models.get(database, "m@2")


def test_a_model_is_kept_while_a_job_predicts_with_it(database: Database) -> None:
    model_id = train_model(database, START)
    job_id = queue_predict(database, START, model_id)
    with pytest.raises(Conflict, match="predicts with"):
        models.delete(database, model_id)
    jobs.request_cancel(database, job_id, START)
    models.delete(database, model_id)
    with pytest.raises(NotFound):
        models.delete(database, model_id)
    with pytest.raises(Conflict, match="deleted"):
        jobs.retry(database, job_id, START)


def test_what_is_said_about_a_model_changes_and_the_rest_does_not(database: Database) -> None:
    model_id = train_model(database, START)
    before = models.get(database, model_id).resource
    changed = models.change(database, model_id, ModelChange(description="sold in 2025", tags=["v=2", "prod", "prod"]))
    assert (changed.description, changed.tags) == ("sold in 2025", ["prod", "v=2"])
    assert changed == before.model_copy(update={"description": "sold in 2025", "tags": ["prod", "v=2"]})
    assert models.change(database, model_id, ModelChange(tags=None)).tags == []
    assert models.get(database, model_id).resource.description == "sold in 2025"


def test_models_are_listed_by_tag(database: Database) -> None:
    first, second, _ = (train_model(database, START, name=name) for name in ("a", "b", "c"))
    models.change(database, first, ModelChange(tags=["prod", "x"]))
    models.change(database, second, ModelChange(tags=["production"]))
    assert [one.id for one in models.list_page(database, tag="prod").items] == [first]
    assert [one.id for one in models.list_page(database, tag="production").items] == [second]
    assert models.list_page(database, tag="pr_d").items == []


def test_a_name_stands_for_the_version_that_was_chosen_until_that_is_deleted(database: Database) -> None:
    first, second = (train_model(database, START, name="m") for _ in range(2))
    assert models.change(database, "m", ModelChange(default_version=1)).id == second
    assert models.get(database, "m").resource.id == first
    assert models.get(database, "m@2").resource.default_version == 1
    third = train_model(database, START, name="m")
    assert models.get(database, "m").resource.id == first
    with pytest.raises(InvalidRequest, match="no version 4"):
        models.change(database, "m", ModelChange(default_version=4))
    models.delete(database, "m")
    assert models.get(database, "m").resource.id == third
    assert models.get(database, second).resource.default_version is None
    models.change(database, "m", ModelChange(default_version=2))
    models.change(database, "m", ModelChange(default_version=None))
    assert models.get(database, "m").resource.id == third


def test_a_default_version_is_its_own_projects(database: Database) -> None:
    mine, theirs = database.for_project("mine"), database.for_project("theirs")
    for project in (mine, theirs):
        for _ in range(2):
            train_model(project, START, name="m")
    models.change(mine, "m", ModelChange(default_version=1))
    assert models.get(mine, "m").resource.version == 1
    assert models.get(theirs, "m").resource.version == 2
