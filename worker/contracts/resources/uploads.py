"""Files that are sent in parts."""

from typing import Literal

from pydantic import Field

from worker.contracts.base import Contract, DecimalMark, UtcDatetime

MAX_PARTS = 10_000
"""Of one upload."""


class UploadPart(Contract):
    """A part that has arrived."""

    number: int = Field(description="From 1.")
    bytes: int
    sha256: str


class Upload(Contract):
    """A file that is sent in parts, which becomes a dataset once all of them are there."""

    id: str
    state: Literal["open", "completing", "complete"] = Field(
        description="open: takes parts; completing: its table is read; complete: it is the dataset."
    )
    filename: str | None
    media_type: str
    encoding: Literal["gzip", "zstd"] | None = Field(description="How the file is compressed.")
    bytes: int = Field(description="Of the file as it is sent.")
    sha256: str | None = Field(description="Of the file as it is sent, where the caller told it.")
    name: str | None
    header: bool | None
    missing: list[str] | None
    separator: str | None = None
    decimal: DecimalMark | None = None
    text_encoding: str | None = Field(None, description="Of the characters of a text.")
    sheet: str | None = Field(None, description="Of a workbook.")
    part_bytes: int = Field(description="Of every part but the last, which has the rest.")
    total_parts: int
    parts: list[UploadPart] = Field(description="Those that are there, by number; none once the upload is complete.")
    dataset: str | None = Field(description="The dataset, once the upload is complete.")
    created_at: UtcDatetime
    expires_at: UtcDatetime = Field(description="The upload is deleted then. Every new part moves it.")

    def part_length(self, number: int) -> int:
        """Return how many bytes a part has; ``number`` counts from 1."""
        return min(self.part_bytes, self.bytes - (number - 1) * self.part_bytes)

    @property
    def missing_parts(self) -> list[int]:
        """The numbers of the parts that are not there."""
        there = {part.number for part in self.parts}
        return [number for number in range(1, self.total_parts + 1) if number not in there]
