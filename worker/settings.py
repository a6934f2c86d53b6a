"""Settings of the worker from the environment, and those that it shares with the service."""

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.environment.addresses import with_password
from worker.environment.secret_files import SecretFiles

GIB = 2**30
MAX_BYTES = 2**50
HOUR, DAY, YEAR = 3600, 86_400, 31_536_000
"""Bounds of times, in seconds: beyond some centuries clocks, dates and timers overflow."""
MAX_RENEWAL_PAUSE = 2.0
"""A lease is renewed after a third of its length, but at most this many seconds: renewal also checks for a cancel."""


class SharedSettings(BaseSettings):
    """Addresses of the database, the storage and the queue, and settings that all processes must share."""

    model_config = SettingsConfigDict(env_prefix="FACTRFM_", frozen=True, extra="ignore")

    home: Path = Field(Path(".factrfm"), description="Folder of all local state, unless the addresses below say else.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy address, e.g. postgresql+psycopg://… Default: SQLite under home."
    )
    database_password: SecretStr | None = Field(
        None, description="Password for the database's address, as it is; in the address it would be percent-encoded."
    )
    storage_url: str | None = Field(
        None, description="fsspec address of artifacts, e.g. s3://bucket/path. Default: a folder under home."
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="Redis or Valkey: the queue of job ids."
    )
    redis_password: SecretStr | None = Field(None, description="The same for the address of Redis.")
    queue: str = Field("factrfm", description="Name of the Celery queue.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for a terminal.")
    lease_seconds: float = Field(
        30.0, gt=0, le=DAY, description="A worker that is silent for so long loses its job to another."
    )
    max_lost_attempts: int = Field(3, ge=1, le=1000, description="A job whose attempts were lost this often fails.")
    otlp_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Collector of traces by OTLP over HTTP, e.g. http://127.0.0.1:4318. Needs the extra otel.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources by priority: arguments, secret files, the environment."""
        return init_settings, SecretFiles(settings_cls), env_settings

    @field_validator("database_password", "redis_password")
    @classmethod
    def _fits_its_address(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        # a compose file passes an empty value where there is none
        if value is None or not value.get_secret_value():
            return None
        address = info.data.get("database_url" if info.field_name == "database_password" else "redis_url")
        with_password("" if address is None else address.get_secret_value(), value.get_secret_value())
        return value

    @property
    def database_address(self) -> str:
        """The database's address with its password."""
        if self.database_url is not None:
            return _full_address(self.database_url, self.database_password)
        return f"sqlite:///{(self.home / 'factrfm.db').absolute()}"

    @property
    def redis_address(self) -> str:
        """The queue's address with its password."""
        return _full_address(self.redis_url, self.redis_password)

    @property
    def storage_address(self) -> str:
        """The artifacts' address."""
        return self.storage_url if self.storage_url is not None else str((self.home / "artifacts").absolute())


class WorkerSettings(SharedSettings):
    """Settings of one worker process."""

    device: str = Field(
        "auto", description="torch device of the training: auto (cuda:0 where there is one), cpu, cuda:1, …"
    )
    threads: int | None = Field(
        None, ge=1, le=4096, description="CPU threads of the training. Default: the CPUs that the process may use."
    )
    job_seconds: float | None = Field(
        None, gt=0, le=YEAR, description="A job, or a part of one, that runs longer fails. Default: no limit."
    )
    part_seconds: float = Field(
        5.0,
        gt=0,
        le=YEAR,
        description="Folds, and rows of a predict job, that take longer by estimate become parts that workers share.",
    )
    memory_bytes: int | None = Field(
        None,
        ge=1,
        le=MAX_BYTES,
        description="Memory that a training may take. Default: what the machine or container has free.",
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port of the worker's metrics for Prometheus. Default: they are not served."
    )
    metrics_host: str = Field("127.0.0.1", description="Address of the worker's metrics. They ask for no key.")
    child_idle_bytes: int = Field(
        2 * GIB, ge=1, le=MAX_BYTES, description="A training process that holds more than this after a job is replaced."
    )
    stop_seconds: float = Field(
        5.0, gt=0, le=HOUR, description="Time that a training process has to end before it is killed."
    )


def _full_address(address: SecretStr, password: SecretStr | None) -> str:
    text = address.get_secret_value()
    return text if password is None else with_password(text, password.get_secret_value())
