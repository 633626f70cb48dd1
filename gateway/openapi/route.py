"""A route: what serves it, who may call it, and what its description has to say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from gateway.auth.access import Access
from gateway.auth.callers import Scope
from gateway.openapi.parameters import HeaderParameter, QueryParameter
from gateway.schemas.responses import Refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON: Final = "application/json"
# What any request may be answered with: an Expect that is not understood, and a fault of ours.
ANYWHERE: Final = frozenset({417, 500})
WITH_KEY: Final = frozenset({401, 403, 429, 503})
WITH_BODY: Final = frozenset({400, 408, 413, 415})

_PATTERN: Final = re.compile(r"{(\w+):[^{}]+}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no refusal. ``shape`` None: no body, or one that is no JSON.

    ``headers`` are names of `gateway.openapi.headers`.
    """

    shape: Any = None
    status: int = 200
    media: Sequence[str] = (JSON,)
    headers: Sequence[str] = ()
    description: str = ""

    @property
    def text(self) -> str:
        """What it means, for people."""
        of_shape = inspect.getdoc(self.shape) if self.shape is not None else None
        return self.description or of_shape or HTTPStatus(self.status).phrase


@dataclass(frozen=True)
class Route:
    """One line of the table of routes.

    Its summary is the first line of the handler's docstring, what follows describes it, and its
    tag is the handler's module. ``refusals`` are the statuses of errors beyond those that follow
    from the rest. ``scope`` is what the caller's key has to be for: a route that asks for a key and
    names none cannot be made. ``event`` is what the audit log calls it, of a route that changes
    something: each request is written there, and of the others those without the right. A page for
    browsers is served, but no part of the API's description.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    answers: Sequence[Answer] = ()
    refusals: Sequence[int] = ()
    scope: Scope | None = None
    event: str | None = None
    query: Sequence[QueryParameter] = ()
    headers: Sequence[HeaderParameter] = ()
    body: type[BaseModel] | None = None
    from_client: Sequence[Any] = ()
    from_gateway: Sequence[Any] = ()
    name: str | None = None
    is_page: bool = False

    def __post_init__(self) -> None:
        if self.access is not Access.PUBLIC and self.scope is None:
            raise ValueError(f"{self.method} {self.path} asks for a key, but names no scope")

    def resolve(self, public_metrics: bool) -> Route:
        """The route with `Access.METRICS` replaced by what the settings make of it."""
        if self.access is not Access.METRICS:
            return self
        return replace(self, access=Access.PUBLIC if public_metrics else Access.POLL)

    @property
    def methods(self) -> Sequence[str]:
        """Its method; what anybody may read is also asked for by HEAD, as load balancers do."""
        is_read = self.method == "GET" and self.access is Access.PUBLIC and not self.from_client
        return (self.method, "HEAD") if is_read else (self.method,)

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it: without the patterns of its parameters."""
        return _PATTERN.sub(r"{\1}", self.path)

    @property
    def path_parameters(self) -> Sequence[str]:
        """The names in the path."""
        return re.findall(r"{(\w+)}", self.template)

    @property
    def tag(self) -> str:
        """The handler's module."""
        return self.handler.__module__.rpartition(".")[2]

    @property
    def operation_id(self) -> str:
        """``jobs_create``; ``health`` where handler and module have one name."""
        name = getattr(self.handler, "__name__", "").strip("_")
        return name if name == self.tag else f"{self.tag}_{name}"

    @property
    def words(self) -> tuple[str, str]:
        """The summary, and what else there is to say."""
        summary, _, rest = (inspect.getdoc(self.handler) or "").partition("\n\n")
        return " ".join(summary.split()).rstrip("."), rest

    @property
    def every_answer(self) -> Sequence[Answer]:
        """All that the route can answer, by status; where a status has an answer of its own, that
        one alone.
        """
        own = {answer.status for answer in self.answers}
        refusals = [Answer(Refusal, status) for status in sorted(self._refusals() - own)]
        return sorted([*self.answers, *refusals], key=lambda answer: answer.status)

    @property
    def may_ask_for_key(self) -> bool:
        """Whether a key counts for something."""
        return 401 in self._refusals()

    def _refusals(self) -> set[int]:
        statuses = {*ANYWHERE, *self.refusals}
        if self.access is not Access.PUBLIC:
            statuses |= WITH_KEY
        if self.body is not None:
            statuses |= WITH_BODY
        return statuses | ({400} if self.query else set())
