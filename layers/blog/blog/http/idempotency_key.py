"""The header `Idempotency-Key` of a POST, and the response to it.

The header is that of the IETF draft "The Idempotency-Key HTTP Header Field";
`blog.database.idempotency` states the guarantees.
"""

from typing import Annotated

from fastapi import Header, Response

from blog.conditions import resource_tag
from blog.errors import RequestInProgress, ResourceDeleted
from blog.http.base_path import base_path
from blog.http.parameters import non_nullable
from blog.idempotency import HEADER, StoredResponse

KeyHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Any unique text; it makes the request idempotent, so that it can be retried.",
        json_schema_extra=non_nullable,
    ),
]

KEY_ERRORS = (RequestInProgress, ResourceDeleted)


def created_response(stored: StoredResponse) -> Response:
    """Return 201 with the resource's `Location`, for the first request and for its retries."""
    headers = {"Location": f"{base_path.get()}{stored.path}/{stored.id}"}
    if stored.version is not None:
        headers["ETag"] = f'"{resource_tag(stored.version, stored.body.encode())}"'
    return Response(stored.body, 201, headers, media_type="application/json")
