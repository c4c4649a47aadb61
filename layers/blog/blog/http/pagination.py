"""Ways to walk a list: `skip`, `page`, or the opaque `cursor` of a `next` link.

A cursor is the position after which the next page begins, with a checksum over it and the list it
belongs to. The checksum catches cursors that were altered or moved to another list; it is no
secret, as a position tells a client nothing that it has not seen.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2s
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from blog.errors import InvalidRequest
from blog.http.ids import MAX_ID
from blog.http.parameters import IN_DIGITS, non_nullable
from blog.pagination import PagePosition, PageResult

MAX_LIMIT = 100
CHECKSUM_BYTES = 8
POSITION_PARAMETERS = {"cursor", "limit", "skip", "page"}

Item = TypeVar("Item")

Limit = Annotated[
    int, Field(strict=True, ge=1, le=MAX_LIMIT, description="Most items on a page."), IN_DIGITS
]
Cursor = Annotated[
    str | None,
    Field(
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Continues where an earlier page ended: follow its `next`.",
        json_schema_extra=non_nullable,
    ),
]


class CursorParameters(BaseModel):
    """Query parameters of a list that is walked by its `next` links."""

    model_config = ConfigDict(extra="forbid")

    cursor: Cursor = None
    limit: Limit = 10

    def position(self, path: str) -> PagePosition:
        """Return where the page of the list at `path` begins.

        Raises `InvalidRequest` when the cursor was altered or belongs to another list.
        """
        if self.cursor is None:
            return PagePosition()
        return PagePosition(after=decode_cursor(self.cursor, self._cursor_scope(path)))

    def page_fields(self, path: str, result: PageResult) -> dict[str, object]:
        """Return the fields of a `CursorPage`."""
        url = next_url(
            path, self._cursor_scope(path), result.next_key, **self._filters(), limit=self.limit
        )
        return {"data": result.rows, "limit": self.limit, "next": url}

    def _filters(self) -> dict[str, object]:
        """Return the parameters that select and order the list, unless they have their default."""
        return self.model_dump(mode="json", exclude=POSITION_PARAMETERS, exclude_defaults=True)

    def _cursor_scope(self, path: str) -> str:
        filters = self._filters()
        return f"{path}?{urlencode(filters)}" if filters else path


class PageParameters(CursorParameters):
    """Query parameters of a list that can be entered anywhere; at most one way at a time."""

    skip: Annotated[
        int | None,
        Field(
            strict=True,
            ge=0,
            le=MAX_ID,
            description="Items before the page; 0 unless given.",
            json_schema_extra=non_nullable,
        ),
        IN_DIGITS,
    ] = None
    page: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=MAX_ID // MAX_LIMIT,
            description="The page, counted from 1.",
            json_schema_extra=non_nullable,
        ),
        IN_DIGITS,
    ] = None

    def position(self, path: str) -> PagePosition:
        offset = self.offset()
        return super().position(path) if offset is None else PagePosition(offset)

    def page_fields(self, path: str, result: PageResult) -> dict[str, object]:
        """Return the fields of an `OffsetPage`."""
        return super().page_fields(path, result) | {
            "total": result.total,
            "page": page_number(self.offset(), self.limit),
            "total_pages": page_count(result.total, self.limit),
        }

    def cache_key(self, *filters: object) -> str | None:
        """Return the page's key within its list, `{filters…}:{page}:{limit}`.

        None for a page that is not cached: after a cursor, or one that is not page-aligned.
        """
        page = page_number(self.offset(), self.limit)
        return None if page is None else ":".join(map(str, (*filters, page, self.limit)))

    def offset(self) -> int | None:
        """Return the number of items before the page; None when a cursor says where it begins.

        Raises `InvalidRequest` when more than one way is given.
        """
        ways = {"skip": self.skip, "page": self.page, "cursor": self.cursor}
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            message = f"cannot be combined with {given[0]}"
            raise InvalidRequest([{"in": "query", "field": given[1], "message": message}])
        if self.cursor is not None:
            return None
        return (self.page - 1) * self.limit if self.page is not None else self.skip or 0


class CursorPage(BaseModel, Generic[Item]):
    """A page of a list that is walked by its `next` links."""

    data: list[Item]
    limit: int = Field(description="Most items on a page, as asked for.")
    next: str | None = Field(description="Path and query of the next page; null on the last one.")


class OffsetPage(CursorPage[Item]):
    """A page of a list that can be entered anywhere."""

    total: int = Field(description="Items in the whole list.")
    page: int | None = Field(
        description="The page, counted from 1; null after a cursor, or where `skip` is in between."
    )
    total_pages: int = Field(description="Pages of this limit in the whole list.")


def page_number(offset: int | None, limit: int) -> int | None:
    """The page that begins there, counted from 1; None when it is not on a page's edge."""
    return None if offset is None or offset % limit else offset // limit + 1


def page_count(total: int, limit: int) -> int:
    """Pages of `limit` items that hold `total`."""
    return -(-total // limit)


def page_content(
    schema: type[CursorPage[Any]], path: str, parameters: CursorParameters, result: PageResult
) -> bytes:
    """Return the page of the list at `path` as it is cached.

    That is the path of `next` or nothing, a line end, and the body's JSON.
    """
    page = schema.model_validate(parameters.page_fields(path, result))
    return f"{page.next or ''}\n{page.model_dump_json()}".encode()


def page_response(content: bytes) -> Response:
    """Return the response with a `page_content`, and its `Link` header."""
    link, _, body = content.partition(b"\n")
    headers = {"Link": f'<{link.decode()}>; rel="next"'} if link else None
    return Response(body, headers=headers, media_type="application/json")


def encode_cursor(position: int, cursor_scope: str) -> str:
    """The cursor of the page after `position` (0 or more, at most `MAX_ID`) in that list."""
    packed = struct.pack(">q", position)
    return urlsafe_b64encode(packed + _checksum(packed, cursor_scope)).rstrip(b"=").decode()


def decode_cursor(cursor: str, cursor_scope: str) -> int:
    """The position that `encode_cursor` was given.

    Raises `InvalidRequest` for anything that it did not make for this very list.
    """
    try:
        packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[: struct.calcsize(">q")]
        (position,) = struct.unpack(">q", packed)
    except (ValueError, struct.error):
        raise _foreign_cursor() from None
    if position < 0 or encode_cursor(position, cursor_scope) != cursor:
        raise _foreign_cursor()
    return int(position)


def next_url(
    path: str, cursor_scope: str, next_key: int | None, **parameters: object
) -> str | None:
    """Return path and query of the page after `next_key`; None where there is none."""
    if next_key is None:
        return None
    cursor = encode_cursor(next_key, cursor_scope)
    return f"{path}?{urlencode({**parameters, 'cursor': cursor})}"


def _checksum(packed: bytes, cursor_scope: str) -> bytes:
    return blake2s(packed + cursor_scope.encode(), digest_size=CHECKSUM_BYTES).digest()


def _foreign_cursor() -> InvalidRequest:
    message = "was not made by this list, or was altered; take it from the link `next`"
    return InvalidRequest([{"in": "query", "field": "cursor", "message": message}])
