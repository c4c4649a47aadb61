"""Pagination of lists: by `skip`, by `page`, or by the opaque `cursor` of a `next` link.

A cursor is the key after which the next page begins, with a checksum over the key and the cursor's
scope: the list with its filters. The checksum detects altered cursors and those of another list; it
protects no secret, as clients know the keys.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2s
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, Field
from starlette.responses import Response

from blog.errors import InvalidRequest
from blog.http.base_path import base_path
from blog.http.conditional import hashed_response
from blog.http.ids import MAX_ID
from blog.http.parameters import IN_DIGITS, non_nullable
from blog.pagination import PagePosition, PageResult

MAX_LIMIT = 100
CHECKSUM_BYTES = 8
POSITION_PARAMETERS = {"cursor", "limit", "skip", "page"}

Item = TypeVar("Item")

Limit = Annotated[
    int, Field(strict=True, ge=1, le=MAX_LIMIT, description="Maximum items per page."), IN_DIGITS
]
Cursor = Annotated[
    str | None,
    Field(
        max_length=64,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Continues after an earlier page: follow its `next`.",
        json_schema_extra=non_nullable,
    ),
]


class CursorParameters(BaseModel):
    """Query parameters of a list that is paginated by its `next` links.

    A subclass adds the parameters that filter and order the list.
    """

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
    """Query parameters of a list with random access: one of `skip`, `page` and `cursor`."""

    skip: Annotated[
        int | None,
        Field(
            strict=True,
            ge=0,
            le=MAX_ID,
            description="Items to skip; 0 by default.",
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
            description="Number of the page, from 1.",
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

        Raises `InvalidRequest` when more than one of `skip`, `page` and `cursor` is given.
        """
        positions = {"skip": self.skip, "page": self.page, "cursor": self.cursor}
        given = [name for name, value in positions.items() if value is not None]
        if len(given) > 1:
            message = f"cannot be combined with {given[0]}"
            raise InvalidRequest([{"in": "query", "field": given[1], "message": message}])
        if self.cursor is not None:
            return None
        return (self.page - 1) * self.limit if self.page is not None else self.skip or 0


class CursorPage(BaseModel, Generic[Item]):
    """A page of a list that is paginated by its `next` links."""

    data: list[Item]
    limit: int = Field(description="Maximum items per page, as requested.")
    next: str | None = Field(description="Path and query of the next page; null on the last one.")


class OffsetPage(CursorPage[Item]):
    """A page of a list with random access."""

    total: int = Field(description="Number of items in the whole list.")
    page: int | None = Field(
        description="Number of the page, from 1; null after a cursor or a `skip` between pages."
    )
    total_pages: int = Field(description="Number of pages of this limit.")


def page_number(offset: int | None, limit: int) -> int | None:
    """Return the number, from 1, of the page at `offset`; None when that is not page-aligned."""
    return None if offset is None or offset % limit else offset // limit + 1


def page_count(total: int, limit: int) -> int:
    """Return the number of pages for `total` items."""
    return -(-total // limit)


def page_content(
    schema: type[CursorPage[Any]], path: str, parameters: CursorParameters, result: PageResult
) -> bytes:
    """Return the page of the list at `path` as it is cached.

    That is the URL of `next` or nothing, a line end, and the body's JSON.
    """
    page = schema.model_validate(parameters.page_fields(path, result))
    return f"{page.next or ''}\n{page.model_dump_json()}".encode()


def page_response(content: bytes) -> Response:
    """Return the response with a `page_content`, and its `Link` header.

    Raises `PreconditionFailed`. The tag is made anew each time: that takes 1.4 µs, and the cached
    form stays what the functions of the release before read.
    """
    link, _, body = content.partition(b"\n")
    if link and (base := base_path.get().encode()):
        # No text of a client has this: its quotes are escaped.
        body = body.replace(b'"next":"%b"' % link, b'"next":"%b%b"' % (base, link))
        link = base + link
    headers = {"Link": f'<{link.decode("latin-1")}>; rel="next"'} if link else None
    return hashed_response(body, headers)


def encode_cursor(position: int, cursor_scope: str) -> str:
    """Return the cursor of the page after `position` (0 to `MAX_ID`)."""
    packed = struct.pack(">q", position)
    return urlsafe_b64encode(packed + _checksum(packed, cursor_scope)).rstrip(b"=").decode()


def decode_cursor(cursor: str, cursor_scope: str) -> int:
    """Return the position in a cursor.

    Raises `InvalidRequest` unless `encode_cursor` made it for this scope.
    """
    try:
        packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[: struct.calcsize(">q")]
        (position,) = struct.unpack(">q", packed)
    except (ValueError, struct.error):
        raise _invalid_cursor() from None
    if position < 0 or encode_cursor(position, cursor_scope) != cursor:
        raise _invalid_cursor()
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


def _invalid_cursor() -> InvalidRequest:
    message = "is not a cursor of this list; take it from the link `next`"
    return InvalidRequest([{"in": "query", "field": "cursor", "message": message}])
