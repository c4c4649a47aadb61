"""Pagination of lists: by `skip`, by `page`, or by the opaque `cursor` of a `next` link.

A cursor is the key after which the next page begins, preceded by the value that orders the list if
it is not the key. It is opaque so that its form may change, not to hide the key, which clients
know. With the filters of another list it continues that list.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from json import dumps
from math import ceil
from typing import Annotated, Any, Generic, Self, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator
from starlette.responses import Response

from shared.conditions import content_tag
from shared.errors import InvalidRequest
from shared.http.conditional import conditional_response
from shared.http.fields import DECIMAL_DIGITS, KEY, MAX_ID, QueryParameters
from shared.page import ItemKey, OrderedKey, PagePosition, PageResult, invalid_cursor
from shared.request import ApiRequest

MAX_LIMIT = 100
MAX_CURSOR_CHARACTERS = 600
"""Enough for a key and 100 characters (`shared.database.paged_query`) of 4 bytes each."""
UUID_MARK, TEXT_MARK, ORDER_MARK = b"\xf0", b"\xf1", b"\xf2"
"""The first byte of a cursor with a UUID, a text or an order; that of an integer is smaller."""
PATH_CHARACTERS = "/:@!$&'()*+,;="
"""Characters that a path has unescaped, besides letters and the like (RFC 3986, section 3.3)."""
POSITION_PARAMETERS = {"cursor", "limit", "skip", "page"}

Item = TypeVar("Item")


def limit_up_to(maximum: int) -> Any:
    """Return the field of a `limit`, for lists whose rows may be too large for `MAX_LIMIT` of them.

    `make openapi` rejects a list whose pages Lambda could not return.
    """
    return Field(strict=True, ge=1, le=maximum, description="Maximum items per page.")


Cursor = Annotated[
    str | None,
    Field(
        max_length=MAX_CURSOR_CHARACTERS,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Continues after an earlier page: follow its `next`.",
    ),
]


class CursorParameters(QueryParameters):
    """The query parameters of a list that is paginated by its `next` links.

    A subclass adds parameters that filter and order the list.
    """

    cursor: Cursor = None
    limit: Annotated[int, limit_up_to(MAX_LIMIT), DECIMAL_DIGITS] = 10
    _position: PagePosition = PrivateAttr()

    @model_validator(mode="after")
    def _locate(self) -> Self:
        """Raises `InvalidRequest` for an invalid cursor, and for more than one position."""
        self._position = self._found_position()
        return self

    @property
    def position(self) -> PagePosition:
        """Where the page begins."""
        return self._position

    def page_fields(self, path: str, result: PageResult) -> dict[str, object]:
        """Return the fields of a `CursorPage` of the list at `path`."""
        filters = self.model_dump(
            mode="json", by_alias=True, exclude=POSITION_PARAMETERS, exclude_defaults=True
        )
        return {
            "data": result.rows,
            "limit": self.limit,
            "next": next_url(path, result.next_key, **filters, limit=self.limit),
        }

    def filters(self) -> list[object]:
        """Return the values of the parameters that filter and order the list, None if not sent."""
        names = (name for name in type(self).model_fields if name not in POSITION_PARAMETERS)
        return [getattr(self, name) for name in names]

    def _found_position(self) -> PagePosition:
        return PagePosition(after=decode_cursor(self.cursor) if self.cursor else None)


class PageParameters(CursorParameters):
    """The query parameters of a list with random access: `skip`, `page` or `cursor`."""

    skip: Annotated[
        int | None,
        Field(
            strict=True,
            ge=0,
            le=MAX_ID,
            description="Items to skip; 0 by default.",
        ),
        DECIMAL_DIGITS,
    ] = None
    page: Annotated[
        int | None,
        Field(
            strict=True,
            ge=1,
            le=MAX_ID // MAX_LIMIT,
            description="Number of the page, from 1.",
        ),
        DECIMAL_DIGITS,
    ] = None

    def page_fields(self, path: str, result: PageResult) -> dict[str, object]:
        """Return the fields of an `OffsetPage` of the list at `path`."""
        return super().page_fields(path, result) | {
            "total": result.total,
            "page": self.page_number,
            "total_pages": ceil(result.total / self.limit),
        }

    @property
    def page_number(self) -> int | None:
        """The page's number, from 1; None after a cursor, or if the page is not page-aligned."""
        offset = self.position.offset
        return None if self.cursor or offset % self.limit else offset // self.limit + 1

    def _found_position(self) -> PagePosition:
        positions = {"skip": self.skip, "page": self.page, "cursor": self.cursor}
        given = [name for name, value in positions.items() if value is not None]
        if len(given) > 1:
            message = f"cannot be combined with {given[0]}"
            raise InvalidRequest([{"in": "query", "field": given[1], "message": message}])
        if self.page is not None:
            return PagePosition((self.page - 1) * self.limit)
        return PagePosition(self.skip or 0) if self.cursor is None else super()._found_position()


class CursorPage(BaseModel, Generic[Item]):
    """A page of a list that is paginated by its `next` links."""

    model_config = ConfigDict(validate_by_name=True)

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


def page_content(
    schema: type[CursorPage[Any]], path: str, parameters: CursorParameters, result: PageResult
) -> bytes:
    """Return the cached form of a page of the list at `path`.

    It is the URL of `next`, if any, a line end, and the body's JSON.
    """
    page = schema.model_validate(parameters.page_fields(path, result))
    return f"{page.next or ''}\n{page.model_dump_json(by_alias=True)}".encode()


def page_response(request: ApiRequest, content: bytes) -> Response:
    """Return the response for a `page_content`, with `ETag` and `Link`.

    Raises `PreconditionFailed`. The tag, which takes 1.4 µs, is not cached, so that functions of
    the previous release can read the page.
    """
    link, _, body = content.partition(b"\n")
    if link and (base := request.base_path.encode()):
        # The last one: a row may have the same text. The field may have an alias.
        before, _, after = body.rpartition(b'"%b"' % link)
        body = b'%b"%b%b"%b' % (before, base, link, after)
        link = base + link
    headers = {"Link": f'<{link.decode("latin-1")}>; rel="next"'} if link else None
    return conditional_response(request.conditions, body, content_tag(body), headers)


def encode_cursor(place: ItemKey | OrderedKey) -> str:
    """Return the cursor of the page after this place; an id is from 0 to `MAX_ID`."""
    if isinstance(place, OrderedKey):
        key = _packed(place.key)
        packed = ORDER_MARK + bytes([len(key)]) + key + place.text.encode()
    else:
        packed = _packed(place)
    return urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_cursor(cursor: str) -> ItemKey | OrderedKey:
    """Return the place in a cursor. Raises `InvalidRequest` if it is malformed."""
    with suppress(ValueError, IndexError, struct.error):
        packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place: ItemKey | OrderedKey
        if packed[:1] == ORDER_MARK:
            end = 2 + packed[1]
            place = OrderedKey(packed[end:].decode(), _unpacked(packed[2:end]))
        else:
            place = _unpacked(packed)
        if encode_cursor(place) == cursor:
            return place
    raise invalid_cursor()


def _packed(key: ItemKey) -> bytes:
    match key:
        case int():
            return struct.pack(">q", key)
        case UUID():
            return UUID_MARK + key.bytes
        case str():
            return TEXT_MARK + bytes([len(key)]) + key.encode()


def _unpacked(packed: bytes) -> ItemKey:
    """Raises `ValueError` or `struct.error` if the key is malformed."""
    mark, rest = packed[:1], packed[1:]
    if mark == UUID_MARK:
        return UUID(bytes=rest)
    if mark == TEXT_MARK and KEY.fullmatch(text := rest[1:].decode()):
        return text
    (number,) = struct.unpack(">q", packed)
    if number < 0:
        raise ValueError
    return int(number)


def next_url(path: str, place: ItemKey | OrderedKey | None, **parameters: object) -> str | None:
    """Return path and query of the page after `place`; None on the last page.

    `path` is decoded, as API Gateway passes it on.
    """
    if place is None:
        return None
    query = {**parameters, "cursor": encode_cursor(place)}
    texts = {
        name: one if isinstance(one, str | list) else dumps(one) for name, one in query.items()
    }
    return f"{quote(path, PATH_CHARACTERS)}?{urlencode(texts, doseq=True)}"
