"""Schemas of the Open Inference Protocol for the OpenAPI document."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.inference.open_inference.codec import DATATYPES
from worker.contracts.base import MAX_COLUMNS
from worker.tables.files.raw_table import MAX_NAME_LENGTH
from worker.tables.media import JSON

OCTETS = "application/octet-stream"
TEXT_SCHEMA: dict[str, Any] = {"type": "string", "maxLength": MAX_NAME_LENGTH}

Datatype = Annotated[str, Field(json_schema_extra={"enum": list(DATATYPES)})]


class ServerMetadata(BaseModel):
    """The server and what of the protocol it speaks beyond the required."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    """The process answers."""

    live: bool


class ServerReady(BaseModel):
    """The process can work."""

    ready: bool


class ModelReady(BaseModel):
    """The model can be asked."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    ready: bool


class TensorMetadata(BaseModel):
    """A tensor that a model reads or answers; -1 in the shape is the number of rows."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorParameters(BaseModel):
    """How long the values of a tensor are that follow the JSON."""

    binary_data_size: int


class OutputTensor(BaseModel):
    """An output: its values as ``data``, flat in row-major order, or after the JSON."""

    name: str
    datatype: Datatype
    shape: list[int]
    parameters: TensorParameters | None = None
    data: list[Any] | None = None


class AnswerParameters(BaseModel):
    """``unknown_categories``: JSON of columns, and in how many rows each holds a category that no training row had."""

    unknown_categories: str | None = None


class InferAnswer(BaseModel):
    """The outputs of a model."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = None
    parameters: AnswerParameters | None = None
    outputs: list[OutputTensor]


def _tensor_schema(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


INPUT = _tensor_schema(
    "name",
    "shape",
    "datatype",
    name=TEXT_SCHEMA,
    shape={"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
    datatype={"type": "string", "enum": list(DATATYPES)},
    parameters={"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 0}}},
    data={"type": "array", "items": {}, "description": "Flat or nested; null is a missing value."},
)
OUTPUT = _tensor_schema(
    "name",
    name=TEXT_SCHEMA,
    parameters={
        "type": "object",
        "properties": {
            "binary_data": {"type": "boolean"},
            "classification": {
                "type": "integer",
                "minimum": 0,
                "description": "Of probabilities: so many best classes a row as texts 'probability:index:label'.",
            },
        },
    },
)
REQUEST = _tensor_schema(
    "inputs",
    id=TEXT_SCHEMA,
    parameters={"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
    inputs={"type": "array", "minItems": 1, "maxItems": MAX_COLUMNS, "items": INPUT},
    outputs={"type": "array", "maxItems": MAX_COLUMNS, "items": OUTPUT},
)
INFER_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "JSON; with the header Inference-Header-Content-Length, JSON of that length and then the bytes "
        "of the inputs that have a binary_data_size. The Content-Type is not looked at. Content-Encoding may be gzip "
        "or deflate.",
        "content": {
            JSON: {
                "schema": REQUEST,
                "examples": {
                    "columns": {
                        "summary": "A tensor a column",
                        "value": {
                            "inputs": [
                                {"name": "rooms", "shape": [2], "datatype": "FP64", "data": [3, None]},
                                {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["Bern", "Chur"]},
                            ]
                        },
                    },
                    "matrix": {
                        "summary": "One matrix, its columns in the order of the model's inputs",
                        "value": {
                            "id": "42",
                            "inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [[3, 5]]}],
                            "outputs": [{"name": "predict"}],
                        },
                    },
                },
            },
            OCTETS: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
