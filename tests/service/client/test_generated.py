"""The client that blocks is what generation makes of the client that awaits."""

import inspect

import pytest
from support.processes import REPOSITORY

from docs.tools import blocking_client
from service.client import AsyncClient, Client


def test_the_files_are_what_generation_gives() -> None:
    made = blocking_client.made()
    assert len(made) == 2
    for path, text in made.items():
        assert (REPOSITORY / path).read_text() == text, f"run `make client`, which writes {path}"


def test_a_change_by_hand_is_seen_and_a_change_of_the_source_is_carried_over(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / blocking_client.CLIENT
    folder.mkdir(parents=True)
    for source in blocking_client.FILES:
        text = (REPOSITORY / blocking_client.CLIENT / source).read_text()
        (folder / source).write_text(text.replace("Return a dataset.", "Return one dataset."))
    (tmp_path / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    monkeypatch.setattr(blocking_client, "REPOSITORY", tmp_path)
    made = blocking_client.made()[blocking_client.CLIENT / "sync.py"]
    assert "Return one dataset." in made
    assert made != (REPOSITORY / blocking_client.CLIENT / "sync.py").read_text()


def test_nothing_of_awaiting_is_left() -> None:
    for path, text in blocking_client.made().items():
        for word in ("async", "await", "asyncio", "Async", "aio_"):
            assert word not in text.partition("\n")[2], (path, word)
        assert text.startswith("# Made from service/client/aio")


def test_both_clients_have_the_same_methods_with_the_same_arguments_and_words() -> None:
    blocking, awaiting = (
        {name: one for name, one in vars(kind).items() if not name.startswith("_") and callable(one)}
        for kind in (Client, AsyncClient)
    )
    assert list(blocking) == list(awaiting)
    for name, method in blocking.items():
        assert inspect.signature(method).parameters == inspect.signature(awaiting[name]).parameters, name
        assert method.__doc__ == awaiting[name].__doc__
        assert not inspect.iscoroutinefunction(method), name
