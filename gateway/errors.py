"""The domain's errors, drawn as a tree. Nothing here knows of HTTP.

::

    GatewayError
    ├── SettingsError              a setting is wrong or unknown; stops the start
    ├── MigrationRequired          only the tables' owner can make what is missing
    ├── EmbeddedPostgresError      the embedded PostgreSQL cannot run
    ├── IndexRefused               indexing would do harm
    │   └── IndexWouldEmpty        … as if the filespace were not mounted
    ├── InvalidRequest             what the caller sent cannot be understood
    │   ├── InvalidPath            … a path among it
    │   ├── NoFilesFound           … it names nothing that can be cached
    │   ├── PayloadTooLarge
    │   ├── UnsupportedMediaType
    │   ├── RequestTimeout         … it does not arrive
    │   └── UnsupportedWebSocketVersion
    ├── Unauthorized               no key, or a wrong one
    │   ├── InvalidToken           … a token that cannot be accepted
    │   └── InvalidSignature       … a signature that cannot be accepted
    ├── Forbidden                  the caller is known, and may not do this
    │   ├── PathNotAllowed         … ALLOWED_PATHS or his key keeps him out
    │   └── ScopeMissing           … his key is not for this
    ├── JobNotFound
    ├── KeyNotFound
    ├── JobEnded                   the job has ended, nothing is left to cancel
    ├── KeyInUse                   a request with the same idempotency key is being answered
    ├── KeyReused                  the idempotency key was another request's
    ├── RateLimited                the caller's token bucket is empty
    ├── StatementFailed            PostgreSQL refuses a statement of ours
    │   └── PermissionDenied       … for our role lacks a right
    ├── CannotListen               the address or port is not to be had
    ├── CertificateRefused         the TLS files cannot be used
    ├── InvalidKeySet              the keys of the tokens' issuer cannot be used
    ├── InvalidMetadata            … nor its description of itself
    └── Unavailable                try again later
        ├── Starting               migrations are not done yet
        ├── LockTimeout            a table stays locked
        └── DatabaseUnavailable    PostgreSQL does not answer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Details = Sequence[Any] | Mapping[str, Any]


class GatewayError(Exception):
    """Base of all our errors.

    ``message`` is one sentence, fit for a stranger's eyes. ``details`` (a list or a mapping of
    JSON values) says what was wrong where one sentence cannot hold it, and is None otherwise.
    """

    default_message = "Something went wrong"

    def __init__(self, message: str | None = None, details: Details | None = None) -> None:
        self.message = message or self.default_message
        self.details = details
        super().__init__(self.message)


class SettingsError(GatewayError):
    """A setting has a wrong value, or no such setting exists. The message names it."""


class MigrationRequired(GatewayError):
    """The schema lacks something that only the owner of the tables may create.

    ``statements`` are the SQL statements that the owner must run, in order.
    """

    def __init__(self, message: str, statements: Sequence[str]) -> None:
        self.statements = tuple(statements)
        super().__init__(message)


class EmbeddedPostgresError(GatewayError):
    """The embedded PostgreSQL cannot be made, started or stopped. The message says why."""


class IndexRefused(GatewayError):
    """Indexing would do harm, so nothing was changed. The message says what to do instead."""


class IndexWouldEmpty(IndexRefused):
    """So many rows would vanish that the filespace looks unmounted."""


class InvalidRequest(GatewayError):
    """What the caller sent cannot be understood."""

    default_message = "Invalid request"


class InvalidPath(InvalidRequest):
    """A path is ambiguous, malformed or outside the filespace."""


class NoFilesFound(InvalidRequest):
    """Nothing of what was named can be cached."""

    default_message = "No files found"


class PayloadTooLarge(InvalidRequest):
    """The request body, or the list in it, is larger than what is accepted."""

    default_message = "Request body is too large"


class UnsupportedMediaType(InvalidRequest):
    """The request body is not JSON, or is packed in a way that we cannot unpack."""

    default_message = "Content-Type must be application/json"


class RequestTimeout(InvalidRequest):
    """The request body stays away."""

    default_message = "The request body did not arrive in time"


class UnsupportedWebSocketVersion(InvalidRequest):
    """The client does not speak a version of WebSocket that we speak."""

    default_message = "Sec-WebSocket-Version must be 13"


class Unauthorized(GatewayError):
    """No API key was sent, or a wrong one."""

    default_message = "Invalid or missing API key"


class InvalidToken(Unauthorized):
    """A bearer token proves nothing. The message says why, but nothing that the token says."""


class InvalidSignature(Unauthorized):
    """A request's signature proves nothing. The message says why, but nothing that was sent."""


class Forbidden(GatewayError):
    """The caller is known, and may not do this."""


class ScopeMissing(Forbidden):
    """The key is not for this. The message names the key and the scope that it lacks."""


class PathNotAllowed(Forbidden):
    """The path lies in the filespace, but outside what may be cached."""


class JobNotFound(GatewayError):
    """There is no such job."""

    default_message = "Job not found"


class KeyNotFound(GatewayError):
    """There is no such API key. The message names it."""


class JobEnded(GatewayError):
    """The job has ended, so it cannot be cancelled any more. ``details["status"]`` says how."""


class KeyInUse(GatewayError):
    """Another request with the same idempotency key is being answered."""

    default_message = "A request with this Idempotency-Key is still being answered"


class KeyReused(GatewayError):
    """The idempotency key was sent before, with something else in the request."""

    default_message = "This Idempotency-Key was used for another request"


class RateLimited(GatewayError):
    """The caller's token bucket is empty.

    ``retry_after`` is the time until the next token, in whole seconds, at least 1.
    """

    default_message = "Too many requests, please try again later"

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__()


class StatementFailed(GatewayError):
    """PostgreSQL refused a statement of ours: a fault in the gateway, not in the request.

    What PostgreSQL said is the cause, for the log: it is no stranger's business.
    """

    default_message = "Internal error"


class PermissionDenied(StatementFailed):
    """Our role lacks a right."""


class Unavailable(GatewayError):
    """The gateway cannot answer now. ``retry_after`` is a fair wait, in whole seconds."""

    default_message = "Service unavailable, please try again later"

    def __init__(self, message: str | None = None, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Starting(Unavailable):
    """The gateway is up, its database is not prepared yet."""

    default_message = "The gateway is starting, please try again shortly"


class LockTimeout(Unavailable):
    """A lock was not to be had in time: somebody else is busy, which is nobody's fault."""

    default_message = "A table stayed locked, please try again later"


class DatabaseUnavailable(Unavailable):
    """PostgreSQL is away, or too busy to answer in time."""

    default_message = "Database unavailable, please try again later"
