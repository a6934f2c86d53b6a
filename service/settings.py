"""Settings that the API reads from the environment."""

from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode, SettingsError

from service.errors import WrongSetting
from worker.contracts.base import MAX_ENCODED_COLUMNS
from worker.contracts.resources import MAX_PARTS
from worker.environment.addresses import local_url
from worker.settings import DAY, GIB, HOUR, MAX_BYTES, YEAR, SharedSettings, WorkerSettings

Kind = TypeVar("Kind", bound=SharedSettings)
MAX_COUNT = 10**9
MIN_READER_BYTES = 2**27
"""A reader needs this for its libraries and a block of rows."""


class ServiceSettings(SharedSettings):
    """Settings of one API process."""

    host: str = Field("127.0.0.1", description="Address to listen on. Other than loopback needs keys.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Comma-separated keys of the project default besides those of 'factrfm keys'. None: loopback only.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma-separated host names that the API accepts, besides localhost and its own host; others get "
        "421. Empty: every name if there are keys, no other name if there are none.",
    )
    max_body_bytes: int = Field(8 * GIB, ge=1, le=MAX_BYTES, description="Largest upload, also after decompression.")
    upload_part_bytes: int = Field(
        16 * 2**20,
        ge=1,
        le=MAX_BYTES,
        description="Size of a part of an upload in parts; larger where 10000 do not do.",
    )
    upload_seconds: float = Field(
        float(DAY), gt=0, le=YEAR, description="An upload in parts that has had no new part for this time is deleted."
    )
    max_open_uploads: int = Field(
        16, ge=1, le=MAX_COUNT, description="Uploads in parts of one project that are not complete; more are 429."
    )
    max_json_bytes: int = Field(16 * 2**20, ge=1, le=MAX_BYTES, description="Largest body of any other request.")
    max_cells: int = Field(500_000_000, ge=1, le=2**48, description="Largest table, rows × columns.")
    max_encoded_columns: int = Field(
        MAX_ENCODED_COLUMNS, ge=1, le=2**20, description="Largest width of a table after one-hot encoding."
    )
    blocks_rows: int = Field(
        50_000,
        ge=1,
        le=MAX_COUNT,
        description="Fits of more training rows whose spec leaves the solver to 'auto' are by blocks.",
    )
    max_queued_jobs: int = Field(10_000, ge=1, le=MAX_COUNT, description="More waiting jobs are refused with 429.")
    max_queued_jobs_per_project: int = Field(
        5000, ge=1, le=MAX_COUNT, description="The same for the jobs of one project."
    )
    max_batch_jobs: int = Field(1000, ge=1, le=MAX_COUNT, description="Most jobs in one batch.")
    requests_per_second: float = Field(
        1000.0,
        gt=0,
        le=MAX_COUNT,
        description="Requests of one project that one API process takes a second; more are 429.",
    )
    hsts_seconds: int = Field(
        0,
        ge=0,
        le=10 * YEAR,
        description="Behind TLS: max-age of the header Strict-Transport-Security. 0: no header.",
    )
    max_predict_rows: int = Field(100_000, ge=1, le=MAX_COUNT, description="Most rows in one synchronous prediction.")
    max_wait_seconds: float = Field(60.0, ge=0, le=DAY, description="Longest wait of 'Prefer: wait=N'.")
    model_cache_bytes: int = Field(
        GIB, ge=1, le=MAX_BYTES, description="Memory for loaded models; the least recently used are evicted."
    )
    table_readers: int = Field(
        2,
        ge=0,
        le=256,
        description="Processes that read uploaded tables; one project uses all but one of several. 0: the API's "
        "process reads them, one at a time.",
    )
    table_reader_bytes: int = Field(
        2 * GIB, ge=MIN_READER_BYTES, le=MAX_BYTES, description="Memory that reading one uploaded table may take."
    )
    table_reader_seconds: float = Field(
        1800.0,
        gt=0,
        le=DAY,
        description="Longest time that reading one uploaded table may take; of a larger file than 1 GiB, each GiB.",
    )
    max_waiting_predictions: int = Field(
        256,
        ge=0,
        le=MAX_COUNT,
        description="Predictions that wait for a thread in one API process; more are refused with 429.",
    )
    max_followers: int = Field(
        128,
        ge=1,
        le=MAX_COUNT,
        description="Event streams and waits that one API process holds at once; more are refused with 429.",
    )
    max_followers_per_project: int = Field(32, ge=1, le=MAX_COUNT, description="The same for one project.")
    head_seconds: float = Field(
        15.0, gt=0, le=HOUR, description="Time limit for the head of a request; then the connection is closed."
    )
    stall_seconds: float = Field(
        30.0,
        gt=0,
        le=HOUR,
        description="Longest pause of a body, else 408; of a client that reads, else its connection is closed.",
    )
    predict_batch_rows: int = Field(
        256,
        ge=1,
        le=MAX_COUNT,
        description="Most rows of waiting predictions of a model computed together; 1: each request alone.",
    )
    predict_batch_wait_seconds: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Time that a prediction waits for others to form a batch. 0: only while all threads are busy.",
    )
    drain_seconds: float = Field(
        2.0,
        ge=0,
        le=HOUR,
        description="Time for which a stopping API is not ready but still takes requests.",
    )
    predict_threads: int = Field(
        2,
        ge=1,
        le=1024,
        description="Predictions computed at once in one API process; one more thread is for small ones.",
    )
    reconcile_seconds: float = Field(
        5.0, gt=0, le=HOUR, description="Interval between searches for expired leases and lost messages."
    )
    resend_seconds: float = Field(
        15.0, gt=0, le=DAY, description="A job that no worker has claimed after this time is sent again, with backoff."
    )
    orphan_seconds: float = Field(
        3600.0,
        gt=0,
        le=YEAR,
        description="A file in storage that has had no row for this time is deleted.",
    )
    event_poll_seconds: float = Field(
        0.3, gt=0, le=HOUR, description="Polling interval for new events of a followed job."
    )

    @field_validator("api_keys", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
        return value

    @property
    def part_bytes(self) -> int:
        """Bytes of a part, of which at most ``MAX_PARTS`` are the largest upload."""
        return max(self.upload_part_bytes, -(-self.max_body_bytes // MAX_PARTS))

    @property
    def local_url(self) -> str:
        """The URL of the API for callers on this machine."""
        return local_url(self.host, self.port)


def read_settings(kind: type[Kind], **overrides: Any) -> Kind:
    """Return settings. ``overrides`` win over the environment, the environment over the defaults.

    Raises:
        WrongSetting: variables are invalid; the message has a line for each.
    """
    try:
        return kind(**overrides)
    except SettingsError as error:
        raise WrongSetting(str(error)) from error
    except ValidationError as error:
        lines = [_wrong(kind, entry["loc"][0], entry["input"], entry["msg"]) for entry in error.errors()]
        raise WrongSetting("\n".join(lines)) from None


def read_every_setting(**overrides: Any) -> tuple[ServiceSettings, WorkerSettings]:
    """Return the settings of the API, with ``overrides``, and those of the worker.

    Raises:
        WrongSetting: variables of either are invalid; the message has one line for each.
    """
    wrong: dict[str, None] = {}
    read: list[Any] = []
    for kind, values in ((ServiceSettings, overrides), (WorkerSettings, {})):
        try:
            read.append(read_settings(kind, **values))
        except WrongSetting as error:
            wrong.update(dict.fromkeys(str(error).splitlines()))
    if wrong:
        raise WrongSetting("\n".join(wrong))
    return read[0], read[1]


def variable(name: str, info: FieldInfo) -> str:
    """Return the environment variable of a setting: FACTRFM_…, or the last alias."""
    alias = info.validation_alias
    return f"FACTRFM_{name.upper()}" if not isinstance(alias, AliasChoices) else str(alias.choices[-1])


def _wrong(kind: type[SharedSettings], name: Any, value: object, message: str) -> str:
    info = kind.model_fields[name]
    shown = "" if "SecretStr" in repr(info.annotation) else f" is {str(value)!r}"
    return f"{variable(name, info)}{shown}: {message[0].lower()}{message[1:]}. Meaning: {info.description}"
