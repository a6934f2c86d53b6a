"""A page whose file is damaged or gone is a page that says so, and what to do about it."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.every_page import all_pages

from service.runtime.context import Context

KINDS = {"content", "table", "model", "matrices", "result", "trials", "report"}
REMEDY = "restore it from a backup, or train again"


def _flip(file: Path, content: bytes) -> None:
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])


DAMAGES = {
    "a bit is flipped": _flip,
    "the end is gone": lambda file, content: file.write_bytes(content[:-1]),
    "it is longer": lambda file, content: file.write_bytes(content + b"\n"),
    "it is empty": lambda file, content: file.write_bytes(b""),
    "it is gone": lambda file, content: file.unlink(),
}


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are made of files anew each time."""
    monkeypatch.setattr("service.app.LEARNED_BYTES", 0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_page_fails_for_a_damaged_file(
    client: TestClient, context: Context, things: dict[str, dict[str, Any]], damage: str
) -> None:
    pages = all_pages(things)
    model = things["model"]["id"]
    told = {"/", f"/models/{model}", f"/compare?ref={model}&ref={things['tune']['id']}&ref={things['network']['id']}"}
    files = [file for file in (context.settings.home / "artifacts").rglob("*") if file.is_file()]
    # one of each kind, of the first fit where it has one
    kinds = {file.stem: file for file in sorted(files, key=lambda file: things["fit"]["id"] in str(file))}
    assert set(kinds) >= KINDS
    for file in kinds.values():
        content = file.read_bytes()
        DAMAGES[damage](file, content)
        context.predictor.forget(model)
        ours = file.stem == "matrices"
        for path in pages:
            answer = client.get(path, headers={"Accept": "text/html"})
            assert answer.status_code == 200, (file, path, answer.text)
            if ours:
                assert (REMEDY in answer.text) == (path in told), path
        assert client.get(f"/v1/models/{model}/features").status_code == (500 if ours else 200)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
