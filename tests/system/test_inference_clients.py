"""The public clients of the Open Inference Protocol, unchanged, on a real server."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from support.processes import System
from support.samples import EXPECTED, restore_sample
from tritonclient.utils import InferenceServerException

SECRET = "key-of-the-test"
ROWS = EXPECTED["rows"]
CITIES = np.array([row["city"] for row in ROWS], dtype=object)
SIZES = np.array([np.nan if row["size"] is None else row["size"] for row in ROWS])
PROBABILITIES = np.array(EXPECTED["models"]["kinds"]["probabilities"])
LABELS = EXPECTED["models"]["kinds"]["predictions"]


@pytest.fixture(scope="module")
def address(queue_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An API with the models of the sample, and a key."""
    home = tmp_path_factory.mktemp("inference") / "home"
    restore_sample(home)
    system = System(home, queue_address, queue="inference", api_keys=SECRET)
    try:
        system.start_api()
        yield f"127.0.0.1:{system.port}"
    finally:
        system.stop()


def inputs(module: Any, *, binary: bool, sizes: np.ndarray = SIZES, datatype: str = "FP64") -> list[Any]:
    size = module.InferInput("size", list(sizes.shape), datatype)
    size.set_data_from_numpy(sizes, binary_data=binary)
    city = module.InferInput("city", [len(sizes)], "BYTES")
    city.set_data_from_numpy(CITIES[: len(sizes)], binary_data=binary)
    return [size, city]


def key() -> dict[str, str]:
    # new for each call, because the client writes its own headers into what it is given
    return {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(address)
    yield client
    client.close()


def labels(result: Any) -> list[str]:
    return [one if isinstance(one, str) else one.decode() for one in result.as_numpy("predict")]


def test_tritonclient_reads_metadata_and_readiness(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live(headers=key())
    assert client.is_server_ready(headers=key())
    assert client.is_model_ready("kinds", headers=key())
    assert client.is_model_ready("kinds", "1", headers=key())
    assert not client.is_model_ready("nobody", headers=key())
    assert "binary_tensor_data" in client.get_server_metadata(headers=key())["extensions"]
    assert {one["name"] for one in client.get_model_metadata("kinds", headers=key())["inputs"]} == {"size", "city"}


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_infers_in_both_forms(client: triton.InferenceServerClient, binary: bool) -> None:
    result = client.infer("kinds", inputs(triton, binary=binary), request_id="7", headers=key())
    np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES, rtol=1e-6)
    assert labels(result) == LABELS
    assert result.get_response()["id"] == "7"
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary)]
    result = client.infer("kinds", inputs(triton, binary=binary), outputs=outputs, headers=key())
    np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES, rtol=1e-6)
    assert result.as_numpy("predict") is None


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_compresses_both_ways(client: triton.InferenceServerClient, algorithm: str) -> None:
    result = client.infer(
        "kinds",
        inputs(triton, binary=True),
        headers=key(),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES, rtol=1e-6)


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BOOL"])
def test_tritonclient_sends_other_datatypes(client: triton.InferenceServerClient, datatype: str) -> None:
    dtype = {"FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_}[datatype]
    sizes = np.array([0, 1], dtype)
    found = client.infer("prices", inputs(triton, binary=True, sizes=sizes, datatype=datatype), headers=key())
    plain = client.infer("prices", inputs(triton, binary=False, sizes=np.array([0.0, 1.0])), headers=key())
    assert found.as_numpy("predict").tolist() == plain.as_numpy("predict").tolist()


def test_tritonclient_gets_the_best_classes_by_name(client: triton.InferenceServerClient) -> None:
    outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
    found = client.infer("kinds", inputs(triton, binary=True), outputs=outputs, headers=key()).as_numpy("probabilities")
    assert [text.decode().split(":")[2] for text in found[0]] == ["low", "high"]


def test_tritonclient_is_told_what_is_wrong(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="there is no model 'nobody'"):
        client.infer("nobody", inputs(triton, binary=True), headers=key())
    with pytest.raises(InferenceServerException, match="lack columns that the model reads: 'city'"):
        client.infer("kinds", inputs(triton, binary=True)[:1], headers=key())
    with pytest.raises(InferenceServerException, match="this service needs a key"):
        client.infer("kinds", inputs(triton, binary=True))


async def _infer_and_fail(address: str) -> tuple[Any, str]:
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_ready(headers=key())
        result = await client.infer("kinds", inputs(triton_aio, binary=True), headers=key())
        try:
            await client.infer("nobody", inputs(triton_aio, binary=True), headers=key())
        except InferenceServerException as error:
            return result, str(error)
    raise AssertionError("a model that is not there answered")


def test_the_asynchronous_tritonclient_does_the_same(address: str) -> None:
    result, error = asyncio.run(_infer_and_fail(address))
    np.testing.assert_allclose(result.as_numpy("probabilities"), PROBABILITIES, rtol=1e-6)
    assert "[404]" in error
