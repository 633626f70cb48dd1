"""What every shape has: a docstring a field, and a few kinds of values."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, WithJsonSchema, with_config

# A string that stands below a field describes it, as it does for readers of the code.
shape = with_config(ConfigDict(use_attribute_docstrings=True))

JOB_ID = {
    "type": "string",
    "format": "uuid",
    "examples": ["6bb4629b-1487-477c-96fe-b762d82a099b"],
}

Time = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "format": "date-time", "examples": ["2026-11-24T10:23:00.072Z"]}
    ),
]
JobId = Annotated[str, WithJsonSchema(JOB_ID)]
Count = Annotated[int, Field(ge=0)]
Percentage = Annotated[int, Field(ge=0, le=100)]
Readable = Annotated[str, Field(examples=["534.5 MB"])]
