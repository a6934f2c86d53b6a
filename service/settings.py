"""Settings that the API reads from the environment."""

from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode, SettingsError

from service.errors import WrongSetting
from worker.contracts.base import MAX_ENCODED_COLUMNS
from worker.environment.addresses import local_url
from worker.settings import DAY, GIB, HOUR, MAX_BYTES, YEAR, SharedSettings, WorkerSettings

Kind = TypeVar("Kind", bound=SharedSettings)
MAX_COUNT = 10**9
MIN_READER_BYTES = 2**27
"""A reader of tables holds its libraries and a block of rows: with less it reads nothing."""


class ServiceSettings(SharedSettings):
    """What one API process needs to know."""

    host: str = Field("127.0.0.1", description="Address to listen on. Other than loopback needs keys.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Comma-separated keys of the project default, beside those of 'factrfm keys'. None: loopback only.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma-separated host names by which the API is asked, beside localhost and its own host; others "
        "are 421. None: every name while there are keys, no other name while there are none.",
    )
    max_body_bytes: int = Field(2 * GIB, ge=1, le=MAX_BYTES, description="Largest upload, also after decompression.")
    max_json_bytes: int = Field(16 * 2**20, ge=1, le=MAX_BYTES, description="Largest body of any other request.")
    max_cells: int = Field(200_000_000, ge=1, le=2**48, description="Largest table, rows × columns.")
    max_encoded_columns: int = Field(
        MAX_ENCODED_COLUMNS, ge=1, le=2**20, description="Largest width of a table after one-hot encoding."
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
        description="Behind TLS: browsers shall use nothing else for so long. 0: nothing is said.",
    )
    max_predict_rows: int = Field(100_000, ge=1, le=MAX_COUNT, description="Most rows in one synchronous prediction.")
    max_wait_seconds: float = Field(60.0, ge=0, le=DAY, description="Longest wait that 'Prefer: wait=N' gets.")
    model_cache_bytes: int = Field(
        GIB, ge=1, le=MAX_BYTES, description="Memory for loaded models; the least recently used leaves."
    )
    table_readers: int = Field(
        2,
        ge=0,
        le=256,
        description="Processes that read uploaded tables at once, all but one of several for one project; 0 reads them "
        "in the API's own, one at a time.",
    )
    table_reader_bytes: int = Field(
        2 * GIB, ge=MIN_READER_BYTES, le=MAX_BYTES, description="Memory that reading one uploaded table may take."
    )
    table_reader_seconds: float = Field(
        1800.0, gt=0, le=DAY, description="Longest time that reading one uploaded table may take."
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
    max_followers_per_project: int = Field(32, ge=1, le=MAX_COUNT, description="The same for those of one project.")
    head_seconds: float = Field(
        15.0, gt=0, le=HOUR, description="A caller that takes longer to send the head of a request is dropped."
    )
    stall_seconds: float = Field(
        30.0,
        gt=0,
        le=HOUR,
        description="A body that pauses for so long is 408; a caller that reads nothing for so long is dropped.",
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
        description="Time that a prediction waits for others to be computed with. 0: only while all threads are busy.",
    )
    drain_seconds: float = Field(
        2.0,
        ge=0,
        le=HOUR,
        description="A stopping API says for so long that it is not ready before it takes no more requests.",
    )
    predict_threads: int = Field(
        2,
        ge=1,
        le=1024,
        description="Predictions computed at once in one API process; small ones have one more thread.",
    )
    reconcile_seconds: float = Field(
        5.0, gt=0, le=HOUR, description="Time between two looks for lost leases and messages."
    )
    resend_seconds: float = Field(
        15.0, gt=0, le=DAY, description="A job queued for so long without a claim is sent again, then with backoff."
    )
    orphan_seconds: float = Field(
        3600.0,
        gt=0,
        le=YEAR,
        description="A file in storage that no row names is deleted when that was seen for so long.",
    )
    event_poll_seconds: float = Field(
        0.3, gt=0, le=HOUR, description="Time between two looks for new events of a followed job."
    )

    @field_validator("api_keys", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)
        return value

    @property
    def local_url(self) -> str:
        """Where a caller on this machine finds the API."""
        return local_url(self.host, self.port)


def read_settings(kind: type[Kind], **overrides: Any) -> Kind:
    """Return settings. ``overrides`` win over the environment, the environment over the defaults.

    Raises:
        WrongSetting: with a line for each variable that has a value it cannot have.
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
        WrongSetting: with a line, once, for each variable of either that has a value it cannot have.
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
    """Return the environment variable of a setting: ours, or a standard one that others read too."""
    alias = info.validation_alias
    return f"FACTRFM_{name.upper()}" if not isinstance(alias, AliasChoices) else str(alias.choices[-1])


def _wrong(kind: type[SharedSettings], name: Any, value: object, message: str) -> str:
    info = kind.model_fields[name]
    shown = "" if "SecretStr" in repr(info.annotation) else f" is {str(value)!r}"
    return f"{variable(name, info)}{shown}: {message[0].lower()}{message[1:]}. Meaning: {info.description}"
