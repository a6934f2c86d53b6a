"""Settings that the worker reads from the environment, and the ones that it shares with the service."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

GIB = 2**30
LONGEST_RENEWAL_PAUSE = 2.0
"""A lease is renewed every third of its length, after so many seconds at most: that is also the look for a cancel."""


class SharedSettings(BaseSettings):
    """Where truth lives, and the guarantees that every process must agree on."""

    model_config = SettingsConfigDict(env_prefix="FACTRFM_", frozen=True, extra="ignore")

    home: Path = Field(Path(".factrfm"), description="Folder of all local state, unless the addresses below say else.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy address, e.g. postgresql+psycopg://… Default: SQLite under home."
    )
    storage_url: str | None = Field(
        None, description="fsspec address of artifacts, e.g. s3://bucket/path. Default: a folder under home."
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis or Valkey: the queue of job ids."
    )
    queue: str = Field("factrfm", description="Name of the Celery queue.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for a terminal.")
    lease_seconds: float = Field(
        30.0, gt=0, description="A worker that is silent for so long loses its job to another."
    )
    max_lost_attempts: int = Field(3, ge=1, description="A job whose attempts were lost this often fails.")
    otlp_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Collector of traces by OTLP over HTTP, e.g. http://127.0.0.1:4318. Needs the extra otel.",
    )

    @property
    def database_address(self) -> str:
        """The database's address with its password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.home / 'factrfm.db').absolute()}"

    @property
    def storage_address(self) -> str:
        """The artifacts' address."""
        return self.storage_url if self.storage_url is not None else str((self.home / "artifacts").absolute())


class WorkerSettings(SharedSettings):
    """What one worker process needs to know."""

    device: str = Field(
        "auto", description="torch device of the training: auto (cuda:0 where there is one), cpu, cuda:1, …"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of the training. Default: torch's own choice.")
    job_seconds: float | None = Field(None, gt=0, description="A job that runs longer fails. Default: no limit.")
    memory_bytes: int | None = Field(
        None, ge=1, description="Memory that a training may take. Default: what the machine or container has free."
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port of the worker's metrics for Prometheus. Default: they are not served."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of the worker's metrics. They ask for no key.")
    child_idle_bytes: int = Field(
        2 * GIB, ge=1, description="A training process that holds more than this after a job is replaced."
    )
    stop_seconds: float = Field(5.0, gt=0, description="Time that a training process has to end before it is killed.")
