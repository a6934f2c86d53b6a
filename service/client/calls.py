"""The calls of the HTTP contract: what each sends, and what its answer becomes. Nothing here touches the network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.client.errors import UnreadableAnswer
from service.client.tables import Body
from worker.contracts.comparison import Comparison
from worker.contracts.explanation import Explanations
from worker.contracts.resources import (
    Batch,
    Dataset,
    DatasetRows,
    DryRun,
    FeatureHistory,
    FeatureMatrix,
    Features,
    Job,
    Model,
    Page,
)
from worker.contracts.results import NetworkReport, TuneResult

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

JSON = "application/json"
ARROW_STREAM = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. A POST carries an idempotency key that all its tries share, so that a try may be repeated."""

    method: str
    path: str
    parse: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def model(kind: type[M]) -> Callable[[httpx.Response], M]:
    """Return a parser of answers of one kind. Fields that a later version has added are ignored."""
    return adapted(TypeAdapter(kind))


def adapted(adapter: TypeAdapter[T]) -> Callable[[httpx.Response], T]:
    """Return a parser of whatever ``adapter`` describes."""

    def parse(response: httpx.Response) -> T:
        try:
            return adapter.validate_json(response.content, extra="ignore")
        except ValidationError as error:
            raise UnreadableAnswer(
                f"{response.request.url.path} answered what this client cannot read: {error}"
            ) from error

    return parse


def nothing(response: httpx.Response) -> None:
    """Parse an answer that has no body."""


def content(response: httpx.Response) -> bytes:
    """Return the body as it is."""
    return response.content


def upload(body: Body, name: str | None) -> Call[Dataset]:
    params = {} if name is None else {"name": name}
    return Call("POST", "/v1/datasets", model(Dataset), params=params, body=body)


def dataset(dataset_id: str) -> Call[Dataset]:
    return Call("GET", f"/v1/datasets/{dataset_id}", model(Dataset))


def dataset_rows(dataset_id: str, limit: int) -> Call[DatasetRows]:
    return Call("GET", f"/v1/datasets/{dataset_id}/rows", model(DatasetRows), params={"limit": limit})


def delete(path: str) -> Call[None]:
    return Call("DELETE", path, nothing)


def page(path: str, kind: type[M], filters: Mapping[str, Any], after: str | None) -> "Call[Page[M]]":
    params = {name: value for name, value in {**filters, "after": after, "limit": 200}.items() if value is not None}
    return Call("GET", path, adapted(TypeAdapter(Page[kind])), params=params)  # type: ignore[valid-type]


def submit(request: Mapping[str, Any]) -> Call[Job]:
    return Call("POST", "/v1/jobs", model(Job), json=dict(request))


def dry_run(request: Mapping[str, Any]) -> Call[DryRun]:
    return Call("POST", "/v1/jobs", model(DryRun), params={"dry_run": "true"}, json=dict(request))


def job(job_id: str) -> Call[Job]:
    return Call("GET", f"/v1/jobs/{job_id}", model(Job))


def job_action(job_id: str, action: str) -> Call[Job]:
    return Call("POST", f"/v1/jobs/{job_id}/{action}", model(Job))


def result(job_id: str) -> Call[bytes]:
    return Call("GET", f"/v1/jobs/{job_id}/result", content)


def tune_result(job_id: str) -> Call[TuneResult]:
    return Call("GET", f"/v1/jobs/{job_id}/result", model(TuneResult))


def network_report(job_id: str) -> Call[NetworkReport]:
    return Call("GET", f"/v1/jobs/{job_id}/result", model(NetworkReport))


def submit_batch(jobs: Any) -> Call[Batch]:
    return Call("POST", "/v1/batches", model(Batch), json=jobs)


def batch(batch_id: str) -> Call[Batch]:
    return Call("GET", f"/v1/batches/{batch_id}", model(Batch))


def cancel_batch(batch_id: str) -> Call[Batch]:
    return Call("POST", f"/v1/batches/{batch_id}/cancel", model(Batch))


def get_model(ref: str) -> Call[Model]:
    return Call("GET", f"/v1/models/{ref}", model(Model))


def change_model(ref: str, change: Mapping[str, Any]) -> Call[Model]:
    return Call("PATCH", f"/v1/models/{ref}", model(Model), json=dict(change))


def compare(ref: str, others: Sequence[str]) -> Call[Comparison]:
    return Call("GET", f"/v1/models/{ref}/compare", model(Comparison), params={"with": list(others)})


def predict(ref: str, body: Body) -> Call[bytes]:
    return Call("POST", f"/v1/models/{ref}/predict", content, body=body, headers={"Accept": ARROW_STREAM})


def features(ref: str) -> Call[Features]:
    return Call("GET", f"/v1/models/{ref}/features", model(Features))


def matrix(ref: str, iteration: int | None) -> Call[FeatureMatrix]:
    params = {} if iteration is None else {"iteration": iteration}
    headers = {"Accept": JSON}
    return Call("GET", f"/v1/models/{ref}/features/matrix", model(FeatureMatrix), params=params, headers=headers)


def heatmap(ref: str, iteration: int | None) -> Call[bytes]:
    params = {} if iteration is None else {"iteration": iteration}
    return Call("GET", f"/v1/models/{ref}/features/matrix", content, params=params, headers={"Accept": "image/png"})


def history(ref: str) -> Call[FeatureHistory]:
    return Call("GET", f"/v1/models/{ref}/features/history", model(FeatureHistory))


def explain(ref: str, body: Body, neighbours: int) -> Call[Explanations]:
    params = {"neighbours": neighbours}
    return Call("POST", f"/v1/models/{ref}/explain", model(Explanations), params=params, body=body)


def export(ref: str, form: str) -> Call[bytes]:
    return Call("GET", f"/v1/models/{ref}/export", content, params={"format": form})


def card(ref: str) -> Call[str]:
    return Call("GET", f"/v1/models/{ref}/card", lambda response: response.text)
