"""Plain data of an idempotent request, which `blog.http` makes and `blog.database` keeps."""

from dataclasses import dataclass
from hashlib import sha256

from pydantic import BaseModel

HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What a creating route returns: the resource's id below `path`, and its JSON."""

    path: str
    id: int
    body: str


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
