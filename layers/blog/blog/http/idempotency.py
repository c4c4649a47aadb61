"""A request to create something, with its `Idempotency-Key`, and its answer.

Source of the header's meaning: the IETF draft "The Idempotency-Key HTTP Header Field"; what is
promised is said in `blog.database.idempotency`.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from fastapi import Header, Response
from pydantic import BaseModel

from blog.errors import RequestInProgress, ResourceDeleted
from blog.http.parameters import non_nullable

HEADER = "Idempotency-Key"
KeyHeader = Annotated[
    str | None,
    Header(
        alias=HEADER,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Any unique text: a repetition with it creates nothing twice.",
        json_schema_extra=non_nullable,
    ),
]

KEY_ERRORS = (RequestInProgress, ResourceDeleted)


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What a creating route answers: the resource's id below `path`, and its JSON."""

    path: str
    id: int
    body: str

    def response(self) -> Response:
        headers = {"Location": f"{self.path}/{self.id}"}
        return Response(self.body, 201, headers, media_type="application/json")


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request to create a resource below `path`; `key` is None where the client sent none."""

    path: str
    body: BaseModel
    key: str | None

    @property
    def fingerprint(self) -> bytes:
        """Equal for requests that ask for the same."""
        return sha256(self.body.model_dump_json().encode()).digest()
