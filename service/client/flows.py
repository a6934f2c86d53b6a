"""Operations of several calls, shared by both clients: a flow yields calls and waits, and returns its result."""

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypedDict, TypeVar

from service.client import calls, part_uploads
from service.client.calls import Call
from service.client.errors import JobFailed
from service.client.events import AnyEvent
from service.client.part_uploads import Pause, Read, UploadReport
from service.client.tables import read_answer, rows_of, table_of
from worker.contracts.base import Contract
from worker.contracts.errors import UnknownCategories
from worker.contracts.requests import NetworkRequest, TableRequest, TypeOfColumn, Validation
from worker.contracts.resources import Dataset, Job, Model
from worker.contracts.results import NetworkReport
from worker.contracts.search import Search
from worker.contracts.specs import FitSpec, NetworkSpec

T = TypeVar("T")
Kind = type[TableRequest]
Report = Callable[[AnyEvent], None]


class NetworkOptions(TypedDict, total=False):
    """Options of every training. The service has defaults for missing ones."""

    spec: Mapping[str, Any] | FitSpec | NetworkSpec
    features: Sequence[str]
    exclude: Sequence[str]
    columns: Mapping[str, TypeOfColumn]
    task: Literal["auto", "regression", "classification"]
    validation: Mapping[str, Any] | Validation | None
    missing_target: Literal["drop", "error"]


class TrainOptions(NetworkOptions, total=False):
    """Options of trainings that make a model, whose name is ``model``."""

    model: str
    weights: str
    class_weight: Literal["balanced"] | Mapping[Any, float]


class TuneOptions(TrainOptions, total=False):
    """Options of a search."""

    search: Mapping[str, Any] | Search


@dataclass(frozen=True)
class Wait:
    """Follow a job until it ends. The flow receives the job."""

    job_id: str
    seconds: float | None
    report: Report | None


Step = Call[Any] | Wait | Read | Pause
Flow = Generator[Step, Any, T]


class ReadingOptions(TypedDict, total=False):
    """What a caller knows of a file: see ``Client.upload``. What is None is found out by the service."""

    header: bool | None
    missing: Sequence[str] | None
    separator: str | None
    decimal: str | None
    encoding: str | None
    sheet: str | None


def upload(
    data: Any,
    name: str | None,
    options: ReadingOptions,
    resume: str | None = None,
    progress: UploadReport | None = None,
) -> Flow[Dataset]:
    """Upload a table: a large one in parts, or those that the upload ``resume`` lacks."""
    body = table_of(data)
    name = name if name is not None else body.name
    size: int = yield Read(partial(part_uploads.length, body))
    if resume is not None or size >= part_uploads.MIN_BYTES:
        return (yield from part_uploads.send(body, name, options, resume, progress))
    dataset: Dataset = yield calls.upload(body, name, options)
    return dataset


def wait(job_id: str, seconds: float | None, report: Report | None, *, check: bool) -> Flow[Job]:
    """Wait for a job; with ``check`` raise JobFailed if it did not succeed."""
    job: Job = yield Wait(job_id, seconds, report)
    if check and job.state != "succeeded":
        raise JobFailed(job)
    return job


def run(body: Mapping[str, Any], seconds: float | None, report: Report | None) -> Flow[Job]:
    """Submit a job and wait until it has succeeded."""
    job: Job = yield calls.submit(body)
    return (yield from wait(job.id, seconds, report, check=True))


def train(
    kind: Kind, data: Any, target: Any, options: Mapping[str, Any], seconds: float | None, report: Report | None
) -> Flow[Model]:
    """Upload, train, wait, and return the model."""
    job = yield from run((yield from _request(kind, data, target, options)), seconds, report)
    model: Model = yield calls.get_model(str(job.model))
    return model


def network(
    data: Any, target: Any, options: Mapping[str, Any], seconds: float | None, report: Report | None
) -> Flow[NetworkReport]:
    """Upload, train a network, wait, and return the report."""
    job = yield from run((yield from _request(NetworkRequest, data, target, options)), seconds, report)
    result: NetworkReport = yield calls.network_report(job.id)
    return result


def predict(ref: str, data: Any, *, probabilities: bool, header: bool | None, keep: Sequence[str] = ()) -> Flow[Any]:
    """Predict rows in one call."""
    body = rows_of(data)
    content, unknown = yield calls.predict(ref, body, header, keep)
    if unknown:
        # points at the caller of the client
        warnings.warn(UnknownCategories.of(unknown), stacklevel=4)
    return read_answer(content, body, probabilities=probabilities)


def predict_dataset(
    ref: str,
    data: Any,
    form: str,
    spreadsheet: bool,
    header: bool | None,
    seconds: float | None,
    report: Report | None,
    keep: Sequence[str] = (),
) -> Flow[bytes]:
    """Predict a stored table by a job; return the file."""
    dataset = yield from _dataset_id(data, header)
    body = {"kind": "predict", "model": ref, "dataset": dataset, "format": form}
    # an older service knows neither
    options = ({"spreadsheet": True} if spreadsheet else {}) | ({"keep": [*keep]} if keep else {})
    job = yield from run(body | options, seconds, report)
    content: bytes = yield calls.result(job.id)
    return content


def kind_name(kind: Kind) -> str:
    """Return the name of a kind of job, as its request has it by default."""
    return str(kind.model_fields["kind"].default)


def _request(kind: Kind, data: Any, target: Any, options: Mapping[str, Any]) -> Flow[dict[str, Any]]:
    body: dict[str, Any] = {"kind": kind_name(kind), "dataset": (yield from _dataset_id(data)), "target": target}
    return body | {name: _plain(value) for name, value in options.items()}


def _dataset_id(data: Any, header: bool | None = None) -> Flow[str]:
    if isinstance(data, Dataset):
        return data.id
    if isinstance(data, str) and data.startswith("ds_"):
        return data
    return (yield from upload(data, None, {"header": header})).id


def _plain(value: Any) -> Any:
    """Return a value for JSON. Of contracts only the fields that are set: defaults are the service's."""
    if isinstance(value, Contract):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        # labels of numpy, as np.unique gives them, are no keys of JSON
        return {name.item() if hasattr(name, "item") else name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value
