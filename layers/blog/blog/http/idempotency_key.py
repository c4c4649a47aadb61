"""The header `Idempotency-Key` of a POST, and the response to it.

Source of the header's meaning: the IETF draft "The Idempotency-Key HTTP Header Field"; what is
promised is said in `blog.database.idempotency`.
"""

from typing import Annotated

from fastapi import Header, Response

from blog.errors import RequestInProgress, ResourceDeleted
from blog.http.parameters import non_nullable
from blog.idempotency import HEADER, StoredResponse

KeyHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Any unique text: a retry with it creates nothing twice.",
        json_schema_extra=non_nullable,
    ),
]

KEY_ERRORS = (RequestInProgress, ResourceDeleted)


def created_response(stored: StoredResponse) -> Response:
    """Return 201 with the resource's `Location`, for the first request and for its retries."""
    headers = {"Location": f"{stored.path}/{stored.id}"}
    return Response(stored.body, 201, headers, media_type="application/json")
