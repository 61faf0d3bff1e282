"""The base of the JSON documents of a data set."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: A SHA-256 checksum in hexadecimal digits; empty for a file that does not exist.
Checksum = Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]


class Document(BaseModel):
    """A JSON document of a data set, without further keys and without NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
