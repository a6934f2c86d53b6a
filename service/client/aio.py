"""The asynchronous client. ``Client`` has the same methods."""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

import httpx

from service.client import calls, flows
from service.client.aio_sender import AsyncSender
from service.client.errors import ClientError
from service.client.events import AnyEvent
from service.client.flows import Flow, NetworkOptions, Report, Step, TrainOptions, TuneOptions, Wait
from service.client.opened_body import result_async
from service.client.part_uploads import Pause, Read, UploadReport
from service.client.tables import rows_of
from worker.contracts.explanation import Explanations
from worker.contracts.parts import Part
from worker.contracts.requests import FitRequest, TuneRequest
from worker.contracts.resources import (
    Batch,
    Dataset,
    DatasetRows,
    DryRun,
    FeatureHistory,
    FeatureMatrix,
    Features,
    Job,
    Leaf,
    Model,
)
from worker.contracts.resources.comparison import Comparison
from worker.contracts.results import NetworkReport, Trials, TuneResult

T = TypeVar("T")
Listed = TypeVar("Listed", Dataset, Job, Leaf, Model, Part)


class AsyncClient:
    """Calls the service at ``url``. Use it in an ``async with`` block, or ``close`` it.

    ``url`` and ``key`` default to FACTRFM_URL and FACTRFM_API_KEY. A call that fails temporarily is retried up to
    ``retries`` times; a POST carries an idempotency key, so nothing is done twice.

    Raises:
        NotReached: by every call without an answer.
        Refused: by every call that the service refuses.
        ValueError: by a call with an empty id or name.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        retries: int = 5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._sender = AsyncSender(url, key, timeout=timeout, retries=retries, transport=transport)

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def upload(
        self,
        data: Any,
        name: str | None = None,
        *,
        resume: str | None = None,
        progress: UploadReport | None = None,
        **options: Unpack[flows.ReadingOptions],
    ) -> Dataset:
        """Upload a table: a path, a pandas or polars DataFrame, an Arrow table, a mapping of columns, or arrays (X, y).

        The same bytes again give the same dataset. ``separator``, ``decimal`` mark, ``encoding``, ``header`` (whether
        the first row holds names) and ``sheet`` are detected if not given. ``missing``: all words that mean no value. A
        large table is sent in parts. ``resume``: the id of such an upload. ``progress`` gets the upload and bytes sent.

        Raises:
            UploadInterrupted: an upload in parts ended before it was complete; its ``upload_id`` resumes it.
        """
        return await self._run(flows.upload(data, name, options, resume, progress))

    async def dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset."""
        return await self._sender.send(calls.dataset(dataset_id))

    async def rows(self, dataset_id: str, limit: int = 20) -> DatasetRows:
        """Return the first rows of a dataset."""
        return await self._sender.send(calls.dataset_rows(dataset_id, limit))

    async def delete_dataset(self, dataset_id: str) -> None:
        """Delete a dataset that no job needs."""
        await self._sender.send(calls.delete_dataset(dataset_id))

    async def fit(
        self,
        data: Any,
        target: str | Sequence[str],
        *,
        timeout: float | None = None,
        report: Report | None = None,
        **options: Unpack[TrainOptions],
    ) -> Model:
        """Train a model on a table, or on a dataset or its id, and return it.

        ``report`` is called with every event, e.g. ``factrfm.ProgressBar()``.
        """
        return await self._run(flows.train(FitRequest, data, target, options, timeout, report))

    async def tune(
        self,
        data: Any,
        target: str | Sequence[str],
        *,
        timeout: float | None = None,
        report: Report | None = None,
        **options: Unpack[TuneOptions],
    ) -> Model:
        """Search for the best spec and return its model; ``tune_result`` has every trial.

        Options are those of ``fit``, and ``search``: a Search, or a mapping such as ``{"trials": 20}``.
        """
        return await self._run(flows.train(TuneRequest, data, target, options, timeout, report))

    async def network(
        self,
        data: Any,
        target: str | Sequence[str],
        *,
        timeout: float | None = None,
        report: Report | None = None,
        **options: Unpack[NetworkOptions],
    ) -> NetworkReport:
        """Train a multilayer perceptron and return how the theorem holds for its layers."""
        return await self._run(flows.network(data, target, options, timeout, report))

    async def predict(
        self, ref: str, data: Any, *, probabilities: bool = False, header: bool | None = None, keep: Sequence[str] = ()
    ) -> Any:
        """Predict rows. A data frame gives a data frame with its index, an array an array, a file an Arrow table.

        With ``probabilities`` a classification has a column ``probability:<class>`` for each. ``UnknownCategories``
        warns of those that no training row had. ``header``: as of ``upload``. ``keep``: columns of the rows to repeat.
        """
        return await self._run(flows.predict(ref, data, probabilities=probabilities, header=header, keep=keep))

    async def predict_dataset(
        self,
        ref: str,
        data: Any,
        *,
        form: Literal["parquet", "csv", "arrow"] = "parquet",
        spreadsheet: bool = False,
        header: bool | None = None,
        keep: Sequence[str] = (),
        timeout: float | None = None,
        report: Report | None = None,
    ) -> bytes:
        """Predict a stored table of any length by a job; return the file. ``header`` and ``keep``: as of ``predict``.

        With ``spreadsheet`` a CSV has an apostrophe before texts that a spreadsheet takes for formulas.
        """
        return await self._run(flows.predict_dataset(ref, data, form, spreadsheet, header, timeout, report, keep))

    async def submit(self, request: Mapping[str, Any]) -> Job:
        """Queue a job without waiting. ``request``: a body of POST /v1/jobs."""
        return await self._sender.send(calls.submit(request))

    async def dry_run(self, request: Mapping[str, Any]) -> DryRun:
        """Return the resolved request and the cost of a job, without queueing it."""
        return await self._sender.send(calls.dry_run(request))

    async def job(self, job_id: str) -> Job:
        """Return a job in its current state."""
        return await self._sender.send(calls.job(job_id))

    async def wait(
        self, job_id: str, timeout: float | None = None, *, report: Report | None = None, check: bool = True
    ) -> Job:
        """Follow a job until it ends.

        Raises:
            JobFailed: the job did not succeed, with ``check``.
            TimedOut: it did not end within ``timeout`` seconds; it goes on.
        """
        return await self._run(flows.wait(job_id, timeout, report, check=check))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job."""
        return await self._sender.send(calls.job_action(job_id, "cancel"))

    async def retry(self, job_id: str) -> Job:
        """Run a failed or cancelled job again, from its checkpoint if it has one."""
        return await self._sender.send(calls.job_action(job_id, "retry"))

    async def result(self, job_id: str) -> bytes:
        """Return the result file of a job."""
        return await self._sender.send(calls.result(job_id))

    async def tune_result(self, job_id: str) -> TuneResult:
        """Return all trials of a succeeded search."""
        return await self._sender.send(calls.tune_result(job_id))

    async def trials(self, job_id: str) -> Trials:
        """Return the finished trials of a search, also while it runs."""
        return await self._sender.send(calls.trials(job_id))

    async def network_report(self, job_id: str) -> NetworkReport:
        """Return the report of a network job."""
        return await self._sender.send(calls.network_report(job_id))

    async def delete_job(self, job_id: str) -> None:
        """Delete a job that has ended."""
        await self._sender.send(calls.delete_job(job_id))

    async def submit_batch(self, jobs: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> Batch:
        """Queue many jobs, all or none: a list of bodies, or a base and a grid."""
        return await self._sender.send(calls.submit_batch(jobs if isinstance(jobs, Mapping) else list(jobs)))

    async def batch(self, batch_id: str) -> Batch:
        """Return a batch in its current state."""
        return await self._sender.send(calls.batch(batch_id))

    async def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel every job of a batch."""
        return await self._sender.send(calls.cancel_batch(batch_id))

    async def model(self, ref: str) -> Model:
        """Return a model by its id, its name (the latest version) or name@version."""
        return await self._sender.send(calls.get_model(ref))

    async def change_model(self, ref: str, change: Mapping[str, Any]) -> Model:
        """Change ``description``, ``tags``, or ``default_version``: what the name alone stands for."""
        return await self._sender.send(calls.change_model(ref, change))

    async def compare(self, ref: str, *others: str) -> Comparison:
        """Compare models."""
        return await self._sender.send(calls.compare(ref, others))

    async def delete_model(self, ref: str) -> None:
        """Delete one version of a model, by its id or as name@version."""
        await self._sender.send(calls.delete_model(ref))

    async def features(self, ref: str) -> Features:
        """Return the importance of features in a model."""
        return await self._sender.send(calls.features(ref))

    async def matrix(self, ref: str, iteration: int | None = None) -> FeatureMatrix:
        """Return the learned feature matrix, by default of the chosen iteration."""
        return await self._sender.send(calls.matrix(ref, iteration))

    async def heatmap(self, ref: str, iteration: int | None = None) -> bytes:
        """Return the learned feature matrix as a picture (PNG)."""
        return await self._sender.send(calls.heatmap(ref, iteration))

    async def history(self, ref: str) -> FeatureHistory:
        """Return every iteration of a model's fit."""
        return await self._sender.send(calls.history(ref))

    def leaves(self, ref: str) -> AsyncIterator[Leaf]:
        """Yield the leaves of a model that was fitted by blocks, in the order of its tree, each with its rule."""
        return self._pages(calls.path("/v1/models/{model}/leaves", model=ref), Leaf, {})

    async def explain(self, ref: str, data: Any, *, neighbours: int = 5, header: bool | None = None) -> Explanations:
        """Predict some rows, in any form that ``predict`` takes, and say why: training rows near to them, slopes."""
        return await self._sender.send(calls.explain(ref, rows_of(data), neighbours, header))

    async def export(self, ref: str, format: Literal["safetensors", "onnx"] = "safetensors") -> bytes:  # noqa: A002
        """Return the whole model as one file: safetensors, which ``factrfm.load`` reads, or ONNX."""
        return await self._sender.send(calls.export(ref, format))

    async def card(self, ref: str) -> str:
        """Return the model card, in Markdown."""
        return await self._sender.send(calls.card(ref))

    def datasets(self) -> AsyncIterator[Dataset]:
        """Yield all datasets, newest first."""
        return self._pages("/v1/datasets", Dataset, {})

    def jobs(
        self, *, state: str | None = None, kind: str | None = None, model: str | None = None
    ) -> AsyncIterator[Job]:
        """Yield jobs, newest first."""
        return self._pages("/v1/jobs", Job, {"state": state, "kind": kind, "model": model})

    def parts(self, job_id: str, *, state: str | None = None) -> AsyncIterator[Part]:
        """Yield the parts of a job that several workers share, in order; none of other jobs."""
        return self._pages(calls.path("/v1/jobs/{job}/parts", job=job_id), Part, {"state": state})

    def models(self, name: str | None = None) -> AsyncIterator[Model]:
        """Yield models, newest first; with ``name`` all versions of that name."""
        return self._pages("/v1/models", Model, {"name": name})

    def follow(self, job_id: str, after: int = 0, *, timeout: float | None = None) -> AsyncIterator[AnyEvent]:
        """Yield each event of a job once, until it ends. Reconnects after broken connections.

        Raises:
            TimedOut: the job did not end in ``timeout`` seconds.
        """
        return self._sender.events(job_id, after, timeout)

    async def _pages(self, path: str, kind: type[Listed], filters: Mapping[str, Any]) -> AsyncIterator[Listed]:
        after: str | None = None
        while True:
            page = await self._sender.send(calls.page(path, kind, filters, after))
            for item in page.items:
                yield item
            if page.next is None:
                return
            after = page.next

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = flow.send(None)
            while True:
                try:
                    answer = await self._answer(step)
                except (ClientError, OSError) as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _answer(self, step: Step) -> Any:
        if isinstance(step, Wait):
            return await self._wait(step)
        if isinstance(step, Read):
            return await result_async(step.work)
        if isinstance(step, Pause):
            return await self._sender.sleep(step.seconds)
        return await self._sender.send(step)

    async def _wait(self, wait: Wait) -> Job:
        async for event in self.follow(wait.job_id, timeout=wait.seconds):
            if wait.report is not None:
                wait.report(event)
        return await self.job(wait.job_id)
