"""An idempotent request and its stored response, passed from `blog.http` to `blog.database`."""

from dataclasses import dataclass
from hashlib import sha256

from pydantic import BaseModel

HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to a create request: the resource's id below `path`, and its JSON.

    `version` is the created row's; None in the response to a retry, as it may have changed since.
    """

    path: str
    id: int
    body: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request to create a resource below `path`; `key` is None if the client sent none."""

    path: str
    body: BaseModel
    key: str | None

    @property
    def fingerprint(self) -> bytes:
        """Equal for equal bodies."""
        return sha256(self.body.model_dump_json().encode()).digest()
