"""What a URL may say: declared once, read by handlers and shown in the description."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from multidict import MultiMapping

from gateway.errors import InvalidRequest
from gateway.paths import quote

Schema = dict[str, Any]
Choice = TypeVar("Choice", bound=StrEnum)

OFFSET_LIMIT: Final = 1_000_000_000
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class QueryInteger:
    """A whole number in the query string, ``least`` to ``most``."""

    name: str
    description: str
    default: int
    least: int
    most: int

    def read(self, query: Mapping[str, str]) -> int:
        """What the query says, or the default. Raises `InvalidRequest`."""
        text = query.get(self.name)
        if text is None:
            return self.default
        if not _INTEGER.fullmatch(text) or not self.least <= int(text) <= self.most:
            sentence = f"{self.name} must be a whole number from {self.least} to {self.most}"
            raise InvalidRequest(sentence)
        return int(text)

    @property
    def schema(self) -> Schema:
        """The values as JSON Schema."""
        bounds = {"minimum": self.least, "maximum": self.most}
        return {"type": "integer", **bounds, "default": self.default}


def offset(description: str) -> QueryInteger:
    """How much of a list lies before the page."""
    return QueryInteger("offset", description, default=0, least=0, most=OFFSET_LIMIT)


@dataclass(frozen=True, slots=True)
class QueryChoice(Generic[Choice]):
    """One of several words in the query string."""

    name: str
    description: str
    choices: type[Choice]

    def read(self, query: Mapping[str, str]) -> Choice | None:
        """What the query says; None if it says nothing. Raises `InvalidRequest`."""
        text = query.get(self.name)
        if text is None:
            return None
        try:
            return self.choices(text)
        except ValueError:
            words = ", ".join(self.choices)
            raise InvalidRequest(f"{self.name} must be one of {words}") from None

    @property
    def schema(self) -> Schema:
        """The words as JSON Schema."""
        return {"type": "string", "enum": [str(choice) for choice in self.choices]}


QueryParameter = QueryInteger | QueryChoice[Any]


def check_query(query: MultiMapping[str], declared: Sequence[QueryParameter]) -> None:
    """Refuse a name that is not declared, and one that is there twice. Raises `InvalidRequest`."""
    known = [parameter.name for parameter in declared]
    for name in query:
        if name not in known:
            raise InvalidRequest(f"Unknown parameter: {quote(name)} (allowed: {', '.join(known)})")
        if len(query.getall(name)) > 1:
            raise InvalidRequest(f"{name} is given more than once")


@dataclass(frozen=True, slots=True)
class HeaderParameter:
    """A header that a route takes notice of."""

    name: str
    description: str
    schema: Mapping[str, Any]


IF_NONE_MATCH: Final = HeaderParameter(
    "If-None-Match", "The `ETag` that the caller knows.", {"type": "string"}
)
