from datetime import timedelta

import pytest
from sqlalchemy import text
from support.clock import START

from worker.contracts.errors import InvalidRequest, NotFound
from worker.contracts.keys import Scope
from worker.store import keys
from worker.store.database import Database


def _made(database: Database, **changes):
    return keys.create(database, **{"project": "lab", "name": "ci", "scopes": [Scope.READ], "now": START, **changes})


def test_a_key_is_found_by_its_text_and_by_nothing_near_it(database: Database) -> None:
    key, secret = _made(database)
    assert keys.find(database, secret) == key
    for other in (secret[:-1], secret + "x", key.id, f"{key.id}.", f"key_x.{secret.partition('.')[2]}", "", "\x00"):
        assert keys.find(database, other) is None


def test_the_database_holds_no_secret(database: Database) -> None:
    _, secret = _made(database)
    with database.reading() as session:
        rows = session.execute(text("SELECT * FROM api_keys")).all()
    assert secret.partition(".")[2] not in str(rows)


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(database: Database) -> None:
    assert not keys.any_made(database)
    key, secret = _made(database)
    later = START + timedelta(hours=1)
    assert keys.revoke(database, key.id, later).revoked_at == later
    assert keys.revoke(database, key.id, later + timedelta(hours=1)).revoked_at == later, "the first time counts"
    assert keys.find(database, secret) is None
    assert [one.id for one in keys.list_all(database)] == [key.id]
    assert keys.any_made(database), "revoking the last key must not open the service to everybody"


@pytest.mark.parametrize("project", ["", "Lab", "-lab", "a/b", "a" * 64, "lab\n"])
def test_a_project_whose_name_cannot_be_is_refused(database: Database, project: str) -> None:
    with pytest.raises(InvalidRequest, match="project"):
        _made(database, project=project)
    assert keys.list_all(database) == []


def test_a_key_without_scopes_and_one_that_does_not_exist_are_refused(database: Database) -> None:
    with pytest.raises(InvalidRequest, match="scope"):
        _made(database, scopes=[])
    for key_id in ("key_none", "\x00"):
        with pytest.raises(NotFound):
            keys.revoke(database, key_id, START)
