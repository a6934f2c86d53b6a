"""The calls of the HTTP API: what each sends and how its answer is parsed. Nothing here does I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.client.errors import UnreadableAnswer
from service.client.tables import Body
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
    Upload,
    UploadPart,
)
from worker.contracts.resources.comparison import Comparison
from worker.contracts.results import NetworkReport, Trials, TuneResult

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

JSON = "application/json"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
COUNTS: TypeAdapter[Mapping[str, int]] = TypeAdapter(Mapping[str, int])


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. All tries of a POST share an idempotency key, so it may be repeated."""

    method: str
    path: str
    parse: Callable[[httpx.Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def path(template: str, **parts: str) -> str:
    """Return a path with its parts filled in and quoted.

    Raises:
        ValueError: a part is empty or holds a slash, which no id or name does.
    """
    return template.format_map({name: _quoted(name, part) for name, part in parts.items()})


def _quoted(name: str, part: str) -> str:
    if not part or "/" in part:
        what = f"is {part!r}" if part else "is empty"
        raise ValueError(f"the {name} {what}; it must be an id{' or a name' if name == 'model' else ''}")
    quoted = quote(part, safe="@")
    # clients and proxies would resolve a part of dots alone
    return quoted.replace(".", "%2E") if not part.strip(".") else quoted


def model(kind: type[M]) -> Callable[[httpx.Response], M]:
    """Return a parser of one type of answer. Unknown fields, of later versions, are ignored."""
    return adapted(TypeAdapter(kind))


def adapted(adapter: TypeAdapter[T]) -> Callable[[httpx.Response], T]:
    """Return a parser of the type of ``adapter``."""

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


def predicted(response: httpx.Response) -> tuple[bytes, Mapping[str, int]]:
    """Return the body, and the number of rows with a category unseen in training, by column."""
    counts = response.headers.get("Unknown-Categories", "{}")
    try:
        return response.content, COUNTS.validate_json(counts)
    except ValidationError as error:
        raise UnreadableAnswer(
            f"{response.request.url.path} tells of categories what this client cannot read: {error}"
        ) from error


def _header(header: bool | None) -> dict[str, Any]:
    return {} if header is None else {"header": header}


def upload(body: Body, name: str | None, options: Mapping[str, Any]) -> Call[Dataset]:
    params = {option: value for option, value in {"name": name, **options}.items() if value is not None}
    return Call("POST", "/v1/datasets", model(Dataset), params=params, body=body)


def begin_upload(request: Mapping[str, Any]) -> Call[Upload]:
    return Call("POST", "/v1/uploads", model(Upload), json=dict(request))


def upload_in_parts(upload_id: str) -> Call[Upload]:
    return Call("GET", path("/v1/uploads/{upload}", upload=upload_id), model(Upload))


def put_part(upload_id: str, number: int, body: Body, digest: str) -> Call[UploadPart]:
    place = path("/v1/uploads/{upload}/parts/{number}", upload=upload_id, number=str(number))
    return Call("PUT", place, model(UploadPart), body=body, headers={"Content-Digest": digest})


def complete_upload(upload_id: str) -> Call[Dataset]:
    return Call("POST", path("/v1/uploads/{upload}/complete", upload=upload_id), model(Dataset))


def delete_upload(upload_id: str) -> Call[None]:
    return Call("DELETE", path("/v1/uploads/{upload}", upload=upload_id), nothing)


def dataset(dataset_id: str) -> Call[Dataset]:
    return Call("GET", path("/v1/datasets/{dataset}", dataset=dataset_id), model(Dataset))


def dataset_rows(dataset_id: str, limit: int) -> Call[DatasetRows]:
    return Call(
        "GET", path("/v1/datasets/{dataset}/rows", dataset=dataset_id), model(DatasetRows), params={"limit": limit}
    )


def delete_dataset(dataset_id: str) -> Call[None]:
    return Call("DELETE", path("/v1/datasets/{dataset}", dataset=dataset_id), nothing)


def delete_job(job_id: str) -> Call[None]:
    return Call("DELETE", path("/v1/jobs/{job}", job=job_id), nothing)


def delete_model(ref: str) -> Call[None]:
    return Call("DELETE", path("/v1/models/{model}", model=ref), nothing)


def page(place: str, kind: type[M], filters: Mapping[str, Any], after: str | None) -> "Call[Page[M]]":
    params = {name: value for name, value in {**filters, "after": after, "limit": 200}.items() if value is not None}
    return Call("GET", place, adapted(TypeAdapter(Page[kind])), params=params)  # type: ignore[valid-type]


def submit(request: Mapping[str, Any]) -> Call[Job]:
    return Call("POST", "/v1/jobs", model(Job), json=dict(request))


def dry_run(request: Mapping[str, Any]) -> Call[DryRun]:
    return Call("POST", "/v1/jobs", model(DryRun), params={"dry_run": "true"}, json=dict(request))


def job(job_id: str) -> Call[Job]:
    return Call("GET", path("/v1/jobs/{job}", job=job_id), model(Job))


def events_path(job_id: str) -> str:
    """Return the path of a job's event stream, which is no ``Call``."""
    return path("/v1/jobs/{job}/events", job=job_id)


def job_action(job_id: str, action: str) -> Call[Job]:
    return Call("POST", path("/v1/jobs/{job}/{action}", job=job_id, action=action), model(Job))


def result(job_id: str) -> Call[bytes]:
    return Call("GET", path("/v1/jobs/{job}/result", job=job_id), content)


def tune_result(job_id: str) -> Call[TuneResult]:
    return Call("GET", path("/v1/jobs/{job}/result", job=job_id), model(TuneResult))


def trials(job_id: str) -> Call[Trials]:
    return Call("GET", path("/v1/jobs/{job}/trials", job=job_id), model(Trials))


def network_report(job_id: str) -> Call[NetworkReport]:
    return Call("GET", path("/v1/jobs/{job}/result", job=job_id), model(NetworkReport))


def submit_batch(jobs: Any) -> Call[Batch]:
    return Call("POST", "/v1/batches", model(Batch), json=jobs)


def batch(batch_id: str) -> Call[Batch]:
    return Call("GET", path("/v1/batches/{batch}", batch=batch_id), model(Batch))


def cancel_batch(batch_id: str) -> Call[Batch]:
    return Call("POST", path("/v1/batches/{batch}/cancel", batch=batch_id), model(Batch))


def get_model(ref: str) -> Call[Model]:
    return Call("GET", path("/v1/models/{model}", model=ref), model(Model))


def change_model(ref: str, change: Mapping[str, Any]) -> Call[Model]:
    return Call("PATCH", path("/v1/models/{model}", model=ref), model(Model), json=dict(change))


def compare(ref: str, others: Sequence[str]) -> Call[Comparison]:
    return Call("GET", path("/v1/models/{model}/compare", model=ref), model(Comparison), params={"with": list(others)})


def predict(ref: str, body: Body, header: bool | None, keep: Sequence[str]) -> Call[tuple[bytes, Mapping[str, int]]]:
    return Call(
        "POST",
        path("/v1/models/{model}/predict", model=ref),
        predicted,
        params=_header(header) | ({"keep": list(keep)} if keep else {}),
        body=body,
        headers={"Accept": ARROW_STREAM},
    )


def features(ref: str) -> Call[Features]:
    return Call("GET", path("/v1/models/{model}/features", model=ref), model(Features))


def matrix(ref: str, iteration: int | None) -> Call[FeatureMatrix]:
    params = {} if iteration is None else {"iteration": iteration}
    headers = {"Accept": JSON}
    return Call(
        "GET",
        path("/v1/models/{model}/features/matrix", model=ref),
        model(FeatureMatrix),
        params=params,
        headers=headers,
    )


def heatmap(ref: str, iteration: int | None) -> Call[bytes]:
    params = {} if iteration is None else {"iteration": iteration}
    return Call(
        "GET",
        path("/v1/models/{model}/features/matrix", model=ref),
        content,
        params=params,
        headers={"Accept": "image/png"},
    )


def history(ref: str) -> Call[FeatureHistory]:
    return Call("GET", path("/v1/models/{model}/features/history", model=ref), model(FeatureHistory))


def explain(ref: str, body: Body, neighbours: int, header: bool | None) -> Call[Explanations]:
    params = {"neighbours": neighbours, **_header(header)}
    return Call("POST", path("/v1/models/{model}/explain", model=ref), model(Explanations), params=params, body=body)


def export(ref: str, form: str) -> Call[bytes]:
    return Call("GET", path("/v1/models/{model}/export", model=ref), content, params={"format": form})


def card(ref: str) -> Call[str]:
    return Call("GET", path("/v1/models/{model}/card", model=ref), lambda response: response.text)
