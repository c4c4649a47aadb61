"""Every error that a client can meet, and the one place that maps errors to HTTP.

    ApiError
    ├── MalformedJson            400  the body is not JSON
    ├── InvalidReference         400  a field names a resource that does not exist
    ├── NotFound                 404  no such path, or no such resource
    ├── MethodNotAllowed         405  the path has not this method; `Allow` has those that it has
    ├── Conflict             409  a field's value must be unique and is in use
    ├── RequestInProgress        409  another request with the same `Idempotency-Key` is under way
    ├── ResourceDeleted          409  what an `Idempotency-Key` created was deleted since
    ├── ContentTooLarge          413  the body is larger than `MAX_BODY_BYTES`
    ├── UnsupportedMediaType     415  the body is not declared as JSON
    ├── InvalidRequest           422  a field, parameter or cursor is not acceptable
    ├── InternalError            500  a bug of ours
    └── ServiceUnavailable       503  try again after `Retry-After`
        ├── DatabaseUnavailable       PostgreSQL refused, vanished or took too long; nothing changed
        ├── DeadlineExceeded          the function ran out of time before it changed anything
        └── OutcomeUnknown            no answer to COMMIT, or none in time: changed, or not

Each is answered as an RFC 9457 problem (`application/problem+json`): `type` is `/problems#` and
the error's `code`, `detail` says what happened in a sentence, and an `InvalidRequest` lists the
wrong fields under `errors` as `{in, field, message}`: at most `MAX_ERRORS`, since a client can name
as many as a body holds. No text of a database, no stack trace and no value that the client sent is
ever in one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

RETRY_AFTER_SECONDS = 1
MAX_ERRORS = 20
MAX_FIELD_CHARACTERS = 64
MAX_MESSAGE_CHARACTERS = 200
MAX_BODY_BYTES = 128 * 1024
"""Enough for any legal body: the largest is a post of 10 000 characters that take 12 bytes each."""


class ApiError(Exception):
    """An error with an HTTP answer.

    `meaning` explains the kind of error, `detail` what happened this time; both are for the client.
    """

    status: ClassVar[int]
    title: ClassVar[str]
    code: ClassVar[str]
    meaning: ClassVar[str]

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})

    def problem(self) -> dict[str, Any]:
        """The members of the RFC 9457 problem, all but those of one request."""
        return {
            "type": f"/problems#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }


class MalformedJson(ApiError):
    status, title, code = 400, "Malformed body", "malformed-body"
    meaning = "The request's body cannot be read as JSON; the answer says where it breaks."


class InvalidReference(ApiError):
    status, title, code = 400, "Unknown reference", "unknown-reference"
    meaning = "A field of the body names a resource that does not exist; nothing was written."


class NotFound(ApiError):
    status, title, code = 404, "Not found", "not-found"
    meaning = "There is no such path, or no resource with that id."


class MethodNotAllowed(ApiError):
    status, title, code = 405, "Method not allowed", "method-not-allowed"
    meaning = (
        "The path exists but not with this method; the header `Allow` lists the methods it has."
    )


class Conflict(ApiError):
    status, title, code = 409, "Already taken", "already-taken"
    meaning = "A value that must be unique belongs to another resource; nothing was written."


class RequestInProgress(ApiError):
    status, title, code = 409, "Request in progress", "request-in-progress"
    meaning = "Another request with the same `Idempotency-Key` is under way; repeat it later."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})


class ResourceDeleted(ApiError):
    status, title, code = 409, "Resource deleted", "resource-deleted"
    meaning = (
        "A request with this `Idempotency-Key` created a resource that was deleted since; "
        "nothing was written. Take a new key to create another."
    )


class ContentTooLarge(ApiError):
    status, title, code = 413, "Content too large", "content-too-large"
    meaning = f"The body is larger than {MAX_BODY_BYTES} bytes, which no legal one is."


class UnsupportedMediaType(ApiError):
    status, title, code = 415, "Unsupported media type", "unsupported-media-type"
    meaning = "The body's `Content-Type` is not JSON: send `application/json`."


class InvalidRequest(ApiError):
    status, title, code = 422, "Invalid request", "invalid-request"
    meaning = (
        "One or more fields or parameters are not acceptable; `errors` lists them, "
        f"{MAX_ERRORS} at most."
    )

    def __init__(self, errors: Sequence[Mapping[str, str]]) -> None:
        self.errors = [
            {
                "in": error["in"],
                "field": _cut(error["field"], MAX_FIELD_CHARACTERS),
                "message": _cut(error["message"], MAX_MESSAGE_CHARACTERS),
            }
            for error in errors[:MAX_ERRORS]
        ]
        sentences = [f"{error['field']}: {error['message']}" for error in self.errors]
        if len(errors) > MAX_ERRORS:
            sentences.append(f"and {len(errors) - MAX_ERRORS} more")
        super().__init__("; ".join(sentences))

    def problem(self) -> dict[str, Any]:
        return super().problem() | {"errors": self.errors}


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


class InternalError(ApiError):
    status, title, code = 500, "Internal error", "internal-error"
    meaning = "A bug of ours, logged with the request's id; nothing you sent is known to be wrong."


class ServiceUnavailable(ApiError):
    status, title, code = 503, "Service unavailable", "service-unavailable"
    meaning = "A fault that should pass; try again after the seconds in the header `Retry-After`."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})


class DatabaseUnavailable(ServiceUnavailable):
    code = "database-unavailable"
    meaning = "The database did not answer; nothing was changed, so the request can be repeated."


class DeadlineExceeded(ServiceUnavailable):
    code = "deadline-exceeded"
    meaning = "The answer took too long; nothing was changed, so the request can be repeated."


class OutcomeUnknown(ServiceUnavailable):
    title, code = "Outcome unknown", "outcome-unknown"
    meaning = (
        "The database's answer was lost while the change was made final: look whether it is "
        "there before you repeat the request."
    )
