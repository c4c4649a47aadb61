"""Every error that a client can receive, and the one place that maps errors to HTTP.

    ApiError
    ├── MalformedRequest         400  the request is not valid HTTP: its `Host`, for example
    ├── MalformedJson            400  the body is not JSON
    ├── InvalidReference         400  a field names a resource that does not exist
    ├── Unauthorized             401  there is no token, or it is not accepted
    ├── Forbidden                403  the caller lacks the permission, or the resource is another's
    ├── NotFound                 404  no such path, or no such resource
    ├── MethodNotAllowed         405  the path does not support the method; see `Allow`
    ├── Conflict                 409  a rule of the resource does not allow it in its current state
    │   └── AlreadyTaken              a field's value must be unique and is in use
    ├── ResourceInUse            409  others refer to the resource, which cannot be deleted
    ├── RequestInProgress        409  another request with the same `Idempotency-Key` is in progress
    ├── ResourceDeleted          409  the resource that an `Idempotency-Key` created was deleted
    ├── PreconditionFailed       412  the resource's entity tag is not in `If-Match`
    ├── ContentTooLarge          413  the body is larger than `MAX_BODY_BYTES`
    ├── UnsupportedMediaType     415  the body is compressed, or not declared as JSON
    ├── InvalidRequest           422  a field, parameter or cursor is invalid
    ├── PreconditionRequired     428  a write needs `If-Match`
    ├── TooManyRequests          429  the caller's limit is exceeded; retry after `Retry-After`
    ├── InternalError            500  an internal server error, which is logged
    └── ServiceUnavailable       503  retry after `Retry-After`
        ├── DatabaseUnavailable       PostgreSQL failed, was late or busy with the same rows
        ├── DeadlineExceeded          the function ran out of time before it changed anything
        └── OutcomeUnknown            no response to COMMIT: the change may have been made

Each becomes an RFC 9457 problem (`application/problem+json`): `type` is `/problems#` and the
error's `code`, `detail` describes the occurrence in a sentence, and an `InvalidRequest` lists the
invalid fields under `errors` as `{in, field, message}`, at most `MAX_ERRORS`. A problem never
contains text from a database, a stack trace, or text that the client sent, such as a value, a part
of one, an id, or the name of an unknown field.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

CHALLENGE = 'Bearer realm="users-and-posts"'
"""The WWW-Authenticate challenge (RFC 6750)."""
RETRY_AFTER_SECONDS = 1
MAX_ERRORS = 20
MAX_FIELD_CHARACTERS = 64
MAX_MESSAGE_CHARACTERS = 200
MAX_BODY_BYTES = 128 * 1024
"""Enough for any valid body: the largest has a content of 10 000 characters of 12 bytes each."""


class ApiError(Exception):
    """An error with an HTTP response.

    `description` explains the kind of error, `detail` this occurrence; both are for the client.
    """

    status: ClassVar[int]
    title: ClassVar[str]
    code: ClassVar[str]
    description: ClassVar[str]

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})

    def problem(self) -> dict[str, Any]:
        """Return the RFC 9457 problem."""
        return {
            "type": f"/problems#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }


class MalformedRequest(ApiError):
    status, title, code = 400, "Malformed request", "malformed-request"
    description = "The request is not valid HTTP; `detail` names the header that is wrong."


class MalformedJson(ApiError):
    status, title, code = 400, "Malformed body", "malformed-body"
    description = "The request's body is not valid JSON in UTF-8; `detail` describes the error."


class InvalidReference(ApiError):
    status, title, code = 400, "Unknown reference", "unknown-reference"
    description = "A field of the body names a resource that does not exist; nothing was written."

    def __init__(self, detail: str, *fields: str) -> None:
        """`fields`: the names of the columns that refer to it."""
        super().__init__(detail)
        self.fields = fields


class Unauthorized(ApiError):
    status, title, code = 401, "Unauthorized", "unauthorized"
    description = (
        "The header `Authorization` has no bearer token, or the token is not accepted; "
        "`WWW-Authenticate` distinguishes the two."
    )

    def __init__(self, detail: str, *, is_token_sent: bool = False) -> None:
        error = ', error="invalid_token"' if is_token_sent else ""
        super().__init__(detail, {"WWW-Authenticate": f"{CHALLENGE}{error}"})


class Forbidden(ApiError):
    status, title, code = 403, "Forbidden", "forbidden"
    description = (
        "The caller's roles do not grant the permission that `detail` names, or only for the "
        "caller's own resources; nothing was written."
    )

    def __init__(self, permission: str, *, own_only: bool = False) -> None:
        """`own_only`: the caller has the permission, but not for this resource."""
        lacking = (
            " for resources that are not your own"
            if own_only
            else ", which your roles do not grant"
        )
        scope = f'error="insufficient_scope", scope="{permission}"'
        super().__init__(
            f"This needs the permission {permission}{lacking}.",
            {"WWW-Authenticate": f"{CHALLENGE}, {scope}"},
        )


class NotFound(ApiError):
    status, title, code = 404, "Not found", "not-found"
    description = "There is no such path, or no resource with that id."


class MethodNotAllowed(ApiError):
    status, title, code = 405, "Method not allowed", "method-not-allowed"
    description = (
        "The path does not support this method; the header `Allow` lists the supported ones."
    )


class Conflict(ApiError):
    status, title, code = 409, "Conflict", "conflict"
    description = "A rule that `detail` names does not allow this now; nothing was written."


class AlreadyTaken(Conflict):
    title, code = "Already taken", "already-taken"
    description = "A value that must be unique is used by another resource; nothing was written."


class ResourceInUse(ApiError):
    status, title, code = 409, "Resource in use", "resource-in-use"
    description = (
        "Other resources, which `detail` names, refer to this one; nothing was deleted. Delete "
        "them first."
    )


class RequestInProgress(ApiError):
    status, title, code = 409, "Request in progress", "request-in-progress"
    description = "Another request with the same `Idempotency-Key` is in progress; retry later."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})


class ResourceDeleted(ApiError):
    status, title, code = 409, "Resource deleted", "resource-deleted"
    description = (
        "The resource that an earlier request with this `Idempotency-Key` created was deleted; "
        "nothing was written. Send a new key to create another."
    )


class PreconditionFailed(ApiError):
    status, title, code = 412, "Precondition failed", "precondition-failed"
    description = (
        "The resource has changed since the `ETag` in `If-Match` was read; nothing was written. "
        "Read it again."
    )

    def __init__(
        self, detail: str = "The resource has changed: its ETag is not one of If-Match."
    ) -> None:
        super().__init__(detail)


class ContentTooLarge(ApiError):
    status, title, code = 413, "Content too large", "content-too-large"
    description = f"The body is larger than {MAX_BODY_BYTES} bytes, more than any valid body needs."


class UnsupportedMediaType(ApiError):
    status, title, code = 415, "Unsupported media type", "unsupported-media-type"
    description = (
        "The body must be uncompressed JSON: send `Content-Type: application/json`, and no "
        "`Content-Encoding`."
    )


class InvalidRequest(ApiError):
    status, title, code = 422, "Invalid request", "invalid-request"
    description = (
        f"One or more fields or parameters are invalid; `errors` lists up to {MAX_ERRORS} of them."
    )

    def __init__(self, errors: Sequence[Mapping[str, str]], count: int | None = None) -> None:
        """`count`: the number of all errors, if `errors` has only the first ones."""
        count = count or len(errors)
        self.errors = [
            {
                "in": error["in"],
                "field": _cut(error["field"], MAX_FIELD_CHARACTERS),
                "message": _cut(error["message"], MAX_MESSAGE_CHARACTERS),
            }
            for error in errors[:MAX_ERRORS]
        ]
        sentences = [f"{error['field']}: {error['message']}" for error in self.errors]
        if count > MAX_ERRORS:
            sentences.append(f"and {count - MAX_ERRORS} more")
        super().__init__("; ".join(sentences))

    def problem(self) -> dict[str, Any]:
        return super().problem() | {"errors": self.errors}


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


class PreconditionRequired(ApiError):
    status, title, code = 428, "Precondition required", "precondition-required"
    description = (
        "This API accepts changes only with `If-Match`, the `ETag` of the resource to change, so "
        "that no change overwrites another; nothing was written."
    )


class TooManyRequests(ApiError):
    status, title, code = 429, "Too many requests", "too-many-requests"
    description = (
        "The caller has exceeded the limit that `violated-policies` names; nothing was written. "
        "Retry after the number of seconds in the header `Retry-After`."
    )

    def __init__(self, limit: str, retry_seconds: int) -> None:
        """`limit` is the name of the limit, `read` or `write`."""
        self.limit = limit
        super().__init__(
            f"This is more than the {limit} limit of a caller allows.",
            {"Retry-After": str(retry_seconds)},
        )

    def problem(self) -> dict[str, Any]:
        return super().problem() | {"violated-policies": [self.limit]}


class InternalError(ApiError):
    status, title, code = 500, "Internal error", "internal-error"
    description = "An internal server error, logged with the request's id."

    def __init__(self, detail: str = "The server failed; the error has been logged.") -> None:
        super().__init__(detail)


class ServiceUnavailable(ApiError):
    status, title, code = 503, "Service unavailable", "service-unavailable"
    description = (
        "A transient failure; retry after the number of seconds in the header `Retry-After`."
    )

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})


class DatabaseUnavailable(ServiceUnavailable):
    code = "database-unavailable"
    description = (
        "The database did not respond, or other requests were changing the same; nothing was "
        "changed, so the request can be retried."
    )

    def __init__(
        self, detail: str, *, connection_lost: bool = False, read_only: bool = False
    ) -> None:
        """`connection_lost`: the connection is closed, and a new one may work at once.
        `read_only`: the server responds, but accepts no writes."""
        super().__init__(detail)
        self.connection_lost = connection_lost
        self.read_only = read_only


class DeadlineExceeded(ServiceUnavailable):
    code = "deadline-exceeded"
    description = "The request took too long; nothing was changed, so it can be retried."


PART_COMMITTED = "A part of the request was done; check which before you retry."


class OutcomeUnknown(ServiceUnavailable):
    title, code = "Outcome unknown", "outcome-unknown"
    description = (
        "The connection to the database failed during commit, so the change may have been made "
        "or not: check before you retry."
    )


def concrete_errors(parent: type[ApiError] = ApiError) -> list[type[ApiError]]:
    """Return the errors of this module that define a `code`."""
    found = []
    for error in parent.__subclasses__():
        if "code" in vars(error) and error.__module__ == __name__:
            found.append(error)
        found += concrete_errors(error)
    return found
