"""Both clients against the real system."""

import asyncio
import threading

import numpy as np
import pandas as pd
import pytest
from support.processes import System

from service.client import AsyncClient, Client, JobFailed, Refused, TimedOut, UnknownCategories
from worker.contracts.events import IterationEvent, StateEvent


@pytest.fixture
def client(shared_system: System):
    with Client(f"http://127.0.0.1:{shared_system.port}") as client:
        yield client


@pytest.fixture
def houses() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"rooms": rng.integers(1, 9, 80).astype(float), "city": rng.choice(["Bern", "Chur"], 80)})
    frame.loc[3, "rooms"] = None
    frame["price"] = 100 * frame["rooms"].fillna(4) + 50.5 * (frame["city"] == "Bern")
    return frame


def test_a_frame_goes_in_a_model_is_made_and_a_frame_comes_out(client: Client, houses: pd.DataFrame) -> None:
    seen = []
    model = client.fit(houses, "price", model="houses", spec={"iterations": 2}, report=seen.append)
    assert (model.name, model.task) == ("houses", "regression")
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert isinstance(seen[-1], StateEvent)
    assert any(isinstance(event, IterationEvent) for event in seen)
    rows = houses.drop(columns="price").sample(10, random_state=0)
    answer = client.predict("houses", rows)
    assert answer.index.equals(rows.index)
    assert (answer["price"] - houses.loc[rows.index, "price"]).abs().mean() < 60
    assert {one.feature for one in client.features("houses").importance} == {"rooms", "city"}
    assert np.array(client.matrix("houses").matrix).shape == (model.encoded_features,) * 2
    with pytest.warns(UnknownCategories, match=r"city \(2 rows\)") as told:
        client.predict("houses", rows.head(3).assign(city=["Rom", "Bern", "Rom"]))
    assert told[0].filename == __file__, "of whoever asked"
    why = client.explain("houses", rows, neighbours=2).items
    assert [one.prediction for one in why] == pytest.approx(answer["price"].tolist())
    assert {one.feature for one in why[0].sensitivity} == {"rooms", "city"}
    assert client.export("houses", "onnx") != client.export("houses")
    assert client.heatmap("houses").startswith(b"\x89PNG")
    assert "houses" in client.card("houses")
    assert [one.id for one in client.models("houses")] == [model.id]
    assert client.history("houses").chosen == model.iteration


def test_classes_have_probabilities(client: Client) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 3))
    labels = np.where(X[:, 0] > 0, "up", "down")
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(way=labels)
    model = client.fit(frame, "way", spec={"iterations": 1})
    answer = client.predict(model.id, frame.drop(columns="way"), probabilities=True)
    assert list(answer.columns) == ["way", "probability:down", "probability:up"]
    assert np.allclose(answer[["probability:down", "probability:up"]].sum(axis=1), 1)
    assert client.predict(model.id, X).tolist() == answer["way"].tolist()


def test_all_pages_of_a_list_are_read(client: Client, houses: pd.DataFrame) -> None:
    dataset = client.upload(houses, "pages")
    base = {"kind": "fit", "dataset": dataset.id, "target": "price", "model": "paged", "spec": {"iterations": 0}}
    batch = client.submit_batch({"base": base, "grid": {"spec.seed": list(range(205))}})
    assert batch.total == 205
    client.cancel_batch(batch.id)
    assert len(list(client.jobs(model="paged"))) == 205
    with pytest.raises(Refused, match="seed"):
        client.submit({**base, "spec": {"seed": -1}})


def test_a_wait_has_an_end_and_the_job_goes_on(client: Client) -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(2000, 30))
    dataset = client.upload((X, X[:, 0]))
    job = client.submit(
        {"kind": "fit", "dataset": dataset.id, "target": "y", "spec": {"ridge": 0.1, "iterations": 500}}
    )
    with pytest.raises(TimedOut, match=job.id):
        client.wait(job.id, 0.5)
    assert client.job(job.id).state in ("queued", "running")
    threading.Timer(0.3, client.cancel, [job.id]).start()
    with pytest.raises(JobFailed, match="cancelled") as failed:
        client.wait(job.id, 30)
    assert failed.value.job.state == "cancelled"


def test_the_awaiting_client_does_the_same(shared_system: System, houses: pd.DataFrame, tmp_path) -> None:
    path = tmp_path / "houses.csv"
    houses.to_csv(path, index=False)

    async def run() -> None:
        async with AsyncClient(f"http://127.0.0.1:{shared_system.port}") as client:
            models = await asyncio.gather(
                *(client.fit(path, "price", spec={"iterations": 1, "seed": seed}) for seed in range(3))
            )
            assert len({model.id for model in models}) == 3
            assert len({model.dataset for model in models}) == 1, "the same bytes are one dataset"
            answer = await client.predict(models[0].id, houses.drop(columns="price"))
            assert len(answer) == len(houses)
            assert {model.id async for model in client.models()} >= {model.id for model in models}
            report = await client.network(
                path, "price", spec={"hidden": [8], "steps": 20, "report_every": 10}, validation=None
            )
            assert [step.step for step in report.steps] == [0, 10, 20]

    asyncio.run(run())
