"""Gauges that are computed at each scrape, so that every API process reports the same about jobs."""

import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import structlog
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from service.runtime.context import Context
from worker.contracts.parts import PartKind
from worker.contracts.resources import FINAL_STATES, JobKind, JobState
from worker.store.jobs.tallies import tallies

log = structlog.get_logger()


class ServiceCollector(Collector):
    """Current metrics of the queue, the loaded models and the disk. ``context``: of all projects."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. Without the database those of jobs are missing, and ``factrfm_database_up`` is 0."""
        yield from self._jobs()
        yield from self._predictions()
        yield from self._disks()

    def _jobs(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("factrfm_database_up", "1 while the database answers")
        try:
            by_state = {(row.kind, row.state): row for row in tallies(self._context.database)}
        except SQLAlchemyError as error:
            log.warning("metrics without the database", error=type(error).__name__)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        jobs = GaugeMetricFamily("factrfm_jobs", "Jobs by kind and state", labels=["kind", "state"])
        took = SummaryMetricFamily(
            "factrfm_job_seconds", "Time from the start of jobs to their end", labels=["kind", "state"]
        )
        for kind in get_args(JobKind):
            for state in get_args(JobState):
                tally = by_state.get((kind, state))
                jobs.add_metric([kind, state], 0 if tally is None else tally.jobs)
                if tally is not None and state in FINAL_STATES:
                    took.add_metric([kind, state], tally.timed, tally.seconds)
        yield jobs
        yield took
        parts = GaugeMetricFamily("factrfm_parts", "Parts of jobs by kind and state", labels=["kind", "state"])
        for kind, state in product(get_args(PartKind), get_args(JobState)):
            tally = by_state.get((kind, state))
            parts.add_metric([kind, state], 0 if tally is None else tally.jobs)
        yield parts
        waiting = [row.oldest_queued_at for row in by_state.values() if row.state == "queued"]
        age = (self._context.now() - min(waiting)).total_seconds() if waiting else 0.0
        yield GaugeMetricFamily("factrfm_oldest_queued_job_seconds", "Age of the oldest queued job", value=max(age, 0))

    def _predictions(self) -> Iterator[Metric]:
        predictor = self._context.predictor
        models, size = predictor.cached()
        yield GaugeMetricFamily("factrfm_model_cache_models", "Models in memory", value=models)
        yield GaugeMetricFamily("factrfm_model_cache_bytes", "Memory of the models in memory", value=size)
        yield GaugeMetricFamily(
            "factrfm_predictions_under_way", "Predictions that wait or compute", value=predictor.under_way
        )

    def _disks(self) -> Iterator[Metric]:
        settings = self._context.settings
        free = GaugeMetricFamily("factrfm_disk_free_bytes", "Room on the disk of a folder", labels=["folder"])
        total = GaugeMetricFamily("factrfm_disk_total_bytes", "Size of the disk of a folder", labels=["folder"])
        folders = {"home": settings.home}
        if "://" not in settings.storage_address:
            folders["storage"] = Path(settings.storage_address)
        for name, path in folders.items():
            try:
                usage = shutil.disk_usage(path)
            except OSError:
                # without local state there may be no folder
                continue
            free.add_metric([name], usage.free)
            total.add_metric([name], usage.total)
        yield free
        yield total
