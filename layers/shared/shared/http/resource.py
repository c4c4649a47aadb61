"""Resources, and the kinds of operations on them.

    articles = Resource("articles", "article", ArticlePublic)

    @articles.create(raises=[AlreadyTaken])
    async def create_article(transaction: Transaction, body: ArticleCreate) -> Row:
        return await queries.ITEM.insert(transaction, body.model_dump())

An endpoint's first argument is a `Transaction` or, for reads, a `Reader`; FastAPI provides the
others from the request. It returns rows with the attributes of the schema. The kind adds the
permission, status, headers and errors, idempotency, the transaction with its fences, cached pages
and conditions, and the OpenAPI document follows from it. An operation of no kind is a route of
`Resource.router`, which must do these things itself (docs/more-operations.md).
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID

from fastapi import Header, Query, Request, Response
from pydantic import BaseModel, TypeAdapter
from starlette.routing import BaseRoute

from shared import database
from shared.cache.fences import Fences
from shared.cache.pages import Loaded, PageCache
from shared.conditions import content_tag, resource_tag
from shared.errors import (
    ApiError,
    InvalidReference,
    NotFound,
    RequestInProgress,
    ResourceDeleted,
)
from shared.http.conditional import conditional_response, json_response
from shared.http.fields import Key, without_null
from shared.http.pagination import (
    CursorPage,
    CursorParameters,
    PageParameters,
    page_content,
    page_response,
)
from shared.http.problems import problem_responses
from shared.http.route import (
    CACHED,
    KIND,
    PERMISSION,
    PRIVATE,
    ApiRoute,
    api_router,
    declared_parameters,
)
from shared.page import PageResult
from shared.request import KEY_HEADER, Access, ApiRequest, digest, request_of

if TYPE_CHECKING:
    from shared.database import Reader, Transaction
else:
    # A cached page needs no database, so an endpoint's annotations must not import it.
    Reader = Transaction = object

__all__ = ["PageResult", "Reader", "Resource", "Row", "Transaction"]


class Row(Protocol):
    """A row with the attributes of its schema, and its version (`shared.database.versions`)."""

    @property
    def _version(self) -> str: ...


Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Any]])
Arguments = dict[str, Any]
Respond = Callable[[ApiRequest, Callable[..., Awaitable[Any]], Arguments], Awaitable[Response]]
Errors = Iterable[type[ApiError]]


class Register(Protocol):
    """A decorator that makes an endpoint an operation, and returns it unchanged."""

    def __call__(self, endpoint: Endpoint, /) -> Endpoint: ...


METHODS = {
    "create": "POST",
    "list": "GET",
    "read": "GET",
    "replace": "PUT",
    "update": "PATCH",
    "action": "POST",
    "delete": "DELETE",
    "link": "PUT",
    "unlink": "DELETE",
}
"""The kinds of operations; `local.generate.http_semantics` documents them in OpenAPI."""
ACTIONS = {"create": "create", "list": "read", "read": "read"}
"""The actions in permissions, by kind; `write` for the others."""
STATUSES = {"create": 201, "delete": 204, "link": 204, "unlink": 204}
"""The statuses by kind; 200 for the others."""
FILTERS = (bool, int, float, Decimal, str, Enum, date, time, timedelta, UUID)
"""The types of values that select the rows of a cached list."""
KEY = "idempotency_key"
KEY_PARAMETER = inspect.Parameter(
    KEY,
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None,
        Header(
            alias=KEY_HEADER,
            max_length=255,
            pattern=r"^[!-~]+$",
            description=(
                "Any unique text; it makes the request idempotent, so that it can be retried."
            ),
            json_schema_extra=without_null,
        ),
    ],
)
"""The header of the IETF draft "The Idempotency-Key HTTP Header Field"."""


class Resource:
    """A resource at `/{name}`, whose items are at `/{name}/{id}`.

    `key` is the name of the primary key in the table and in `schema`: an `Id`, a `UUID`, or a text
    with a `Key`. `item` is the name of one item in messages; its path parameter is `{item}_{key}`.
    Permissions are `{name}:read`, `{name}:create` and `{name}:write`, unless an operation names
    another.
    """

    def __init__(self, name: str, item: str, schema: type[BaseModel], key: str = "id") -> None:
        self.name = name
        self.item = item
        self.schema = schema
        self.key = key
        self.item_path = f"/{{{item}_{key}:{_convertor(schema, key)}}}"
        self.router = api_router(name)

    def create(
        self,
        path: str = "",
        *,
        below: str = "",
        permission: str = "",
        raises: Errors = (),
        idempotent: bool = True,
    ) -> Register:
        """POST: the endpoint inserts one row, and returns it.

        `idempotent`: the header `Idempotency-Key` makes a request idempotent. `below` is the path
        of the parent item, as in a list; if the row's reference to it is invalid, the response is
        404.
        """

        async def respond(request: ApiRequest, endpoint: Any, arguments: Arguments) -> Response:
            key = arguments.pop(KEY, None)
            insert = partial(endpoint, **arguments)
            content = _content(f"{below}{path}", arguments) if key is not None else ""
            keyed = database.IdempotentRequest(f"/{self.name}", content, key, self.key)
            async with database.transaction(request, Fences(request)) as transaction:
                with _parent_not_found(arguments.keys()):
                    stored = await database.execute_idempotently(
                        transaction, keyed, insert, self.schema
                    )
                body = stored.body.encode()
                headers = {"Location": f"{request.base_path}{stored.path}/{stored.key}"}
                if stored.version is not None:
                    headers["ETag"] = f'"{resource_tag(stored.version, body)}"'
                return json_response(body, 201, headers)

        return self._operation(
            "create",
            path,
            respond,
            self.schema,
            permission,
            raises=(*raises, RequestInProgress, ResourceDeleted) if idempotent else raises,
            below=below,
            more=[KEY_PARAMETER] if idempotent else (),
        )

    def list(
        self,
        schema: type[CursorPage[Any]],
        path: str = "",
        *,
        cached: bool = False,
        scope: str = "",
        private: bool = False,
        below: str = "",
        permission: str = "",
        raises: Errors = (),
    ) -> Register:
        """GET: the endpoint takes `CursorParameters`, and returns the `PageResult` of a list.

        `cached`: pages with a number are cached, at `{path of the route}:{filters}:{page}:{limit}`.
        `scope` is the parameter that selects a scope (`shared.database.dependencies`) of the table,
        or of another, such as a link table: `likes.post_id`.
        `private`: pages are cached for each caller; otherwise pages that depend on the caller are
        not cached. `below` is the path of the parent item, such as `/writers/{writer_id:id}`: the
        list is at `{below}/{name}{path}`.
        """
        table, _, selects = scope.rpartition(".")
        prefix = f"{below}/{self.name}{path}".removeprefix("/")
        pages = PageCache(table or self.name, schema, prefix) if cached else None

        async def respond(request: ApiRequest, endpoint: Any, arguments: Arguments) -> Response:
            query = next(one for one in arguments.values() if isinstance(one, CursorParameters))
            access = request.granted()
            is_private = private or access.own_only

            async def load() -> Loaded:
                result, reader = await database.read(request, read)
                content = page_content(schema, request.path, query, result)
                may_share = is_private or not reader.names_caller
                depends_on = reader.depends_on if may_share else {}
                return Loaded(content, depends_on, is_empty=not result.rows)

            async def read(reader: Reader) -> tuple[PageResult, Reader]:
                return await endpoint(reader, **arguments), reader

            if pages is None:
                return page_response(request, (await load()).content)
            page = _page_key(arguments, query, access if is_private else None)
            selected = arguments.get(selects, getattr(query, selects, None)) if selects else None
            one_scope = "" if selected is None else str(selected)
            return page_response(request, await pages.fetch(request, page, load, one_scope))

        return self._operation(
            "list",
            path,
            respond,
            schema,
            permission,
            raises=raises,
            below=below,
            extra={CACHED: cached, **({PRIVATE: True} if private else {})},
        )

    def read(
        self,
        path: str | None = None,
        schema: type[BaseModel] | None = None,
        *,
        permission: str = "",
        raises: Errors = (),
    ) -> Register:
        """GET: the endpoint returns an item or, at another path, an object of that `schema`."""

        async def respond(request: ApiRequest, endpoint: Any, arguments: Arguments) -> Response:
            row = await database.read(request, endpoint, **arguments)
            content = _json(schema or self.schema, row)
            version = getattr(row, "_version", None)
            tag = content_tag(content) if version is None else resource_tag(version, content)
            return conditional_response(request.conditions, content, tag)

        return self._operation(
            "read", path, respond, schema or self.schema, permission, raises=raises
        )

    def replace(
        self, path: str | None = None, *, permission: str = "", raises: Errors = ()
    ) -> Register:
        """PUT: the endpoint changes all fields of an item, and returns its row."""
        # No ETag (RFC 9110, section 9.3.4): texts are normalized, so the stored values may differ.
        return self._change("replace", path, permission, raises, has_tag=False)

    def update(
        self, path: str | None = None, *, permission: str = "", raises: Errors = ()
    ) -> Register:
        """PATCH: the endpoint changes the given fields of an item, and returns its row."""
        return self._change("update", path, permission, raises, has_tag=True)

    def action(self, path: str, *, permission: str = "", raises: Errors = ()) -> Register:
        """POST to a path below an item, such as `/publish`: the endpoint changes the item, and
        returns its row."""
        return self._change("action", f"{self.item_path}{path}", permission, raises, has_tag=True)

    def delete(
        self, path: str | None = None, *, permission: str = "", raises: Errors = ()
    ) -> Register:
        """DELETE: the endpoint deletes an item."""
        return self._write("delete", path, permission, raises)

    def link(self, path: str, *, permission: str = "", raises: Errors = ()) -> Register:
        """PUT to a path below an item, such as `/tags/{tag_id:id}`: the endpoint links the item to
        another one (`shared.database.links`)."""
        return self._write("link", f"{self.item_path}{path}", permission, raises)

    def unlink(self, path: str, *, permission: str = "", raises: Errors = ()) -> Register:
        """DELETE at the path of a link: the endpoint deletes it."""
        return self._write("unlink", f"{self.item_path}{path}", permission, raises)

    def _write(self, kind: str, path: str | None, permission: str, raises: Errors) -> Register:
        """The response has no content."""

        async def respond(request: ApiRequest, endpoint: Any, arguments: Arguments) -> Response:
            async with database.transaction(request, Fences(request)) as transaction:
                await endpoint(transaction, **arguments)
                return Response(status_code=204)

        return self._operation(kind, path, respond, None, permission, raises=raises)

    def _change(
        self, kind: str, path: str | None, permission: str, raises: Errors, *, has_tag: bool
    ) -> Register:
        async def respond(request: ApiRequest, endpoint: Any, arguments: Arguments) -> Response:
            async with database.transaction(request, Fences(request)) as transaction:
                row = await endpoint(transaction, **arguments)
                content = _json(self.schema, row)
                tag = {"ETag": f'"{resource_tag(row._version, content)}"'}
                return json_response(content, headers=tag if has_tag else None)

        return self._operation(kind, path, respond, self.schema, permission, raises=raises)

    def _operation(
        self,
        kind: str,
        path: str | None,
        respond: Respond,
        schema: type[BaseModel] | None,
        permission: str,
        *,
        raises: Errors,
        more: Sequence[inspect.Parameter] = (),
        below: str = "",
        extra: Arguments | None = None,
    ) -> Register:
        """`path` is relative to the resource's, None for that of an item."""
        at = self.item_path if path is None else path
        self._check_path(at)
        default = f"{self.name}:{ACTIONS.get(kind, 'write')}"

        def register(endpoint: Endpoint) -> Endpoint:
            async def handle(http_request: Request, **arguments: Any) -> Response:
                request = request_of(http_request.scope)
                request.item = self.item
                return await respond(request, endpoint, arguments)

            handle.__name__, handle.__doc__ = endpoint.__name__, endpoint.__doc__
            handle.__signature__ = _signature(kind, endpoint, more)  # type: ignore[attr-defined]
            self.router.add_api_route(
                f"{below}/{self.name}{at}",
                handle,
                methods=[METHODS[kind]],
                status_code=STATUSES.get(kind, 200),
                response_model=schema,
                responses=problem_responses(*raises),
                openapi_extra={PERMISSION: permission or default, KIND: kind, **(extra or {})},
            )
            if kind == "list":
                _require_next_to_have_all(self.router.routes[-1])
            return endpoint

        return register

    def _check_path(self, path: str) -> None:
        """Raise `TypeError` if the path could be an item's: one of the two would be unreachable."""
        segment = path.split("/")[1] if path else "{"
        key = self.schema.model_fields[self.key]
        if "{" in segment or key.annotation is not str:
            return
        with suppress(ValueError):
            TypeAdapter(Annotated[key.annotation, *key.metadata]).validate_python(segment)
            raise TypeError(
                f"{segment} could be a key of {self.name}: give its Key a pattern that excludes the"
                f" path /{self.name}{path}"
            )


@contextmanager
def _parent_not_found(arguments: Set[str]) -> Iterator[None]:
    """Raise `NotFound` for an `InvalidReference` by parameters of the path."""
    try:
        yield
    except InvalidReference as unknown:
        if unknown.fields and arguments >= {*unknown.fields}:
            raise NotFound(unknown.detail) from None
        raise


def _convertor(schema: type[BaseModel], key: str) -> str:
    """Return the key's convertor in paths. Raises `TypeError` if its type has none."""
    field = schema.model_fields.get(key)
    if field is not None and field.annotation is int:
        return "id"
    if field is not None and field.annotation is UUID:
        return "uuid"
    if field is not None and any(isinstance(one, Key) for one in field.metadata):
        return "key"
    raise TypeError(
        f"{schema.__name__}.{key} must be an Id, a UUID, or a text with a Key, such as {key}:"
        ' Annotated[str, Key("[A-Z]{2}", "DE")] (shared.http.fields); if the primary key is'
        ' another field, name it: Resource(…, key="…")'
    )


def _signature(
    kind: str, endpoint: Callable[..., Any], more: Sequence[inspect.Parameter]
) -> inspect.Signature:
    """Return the endpoint's signature to FastAPI, without the reader or transaction.

    Raises `TypeError` for a list without `CursorParameters`, and for an endpoint that takes a
    `Request`, which FastAPI passes only once, or a `Response`, whose headers would be lost.
    """
    # As texts, by `from __future__ import annotations`, they would be looked up in this module.
    _, *given = inspect.signature(endpoint, eval_str=True).parameters.values()
    for type_ in (Request, Response):
        if any(_is_a(one, type_) for one in given):
            raise TypeError(
                f"{endpoint.__name__} takes a {type_.__name__}: declare the parameters that it"
                " needs, such as headers, or make it a route of no kind (docs/more-operations.md)"
            )
    if kind == "list" and not any(_is_a(one, CursorParameters) for one in given):
        raise TypeError(f"{endpoint.__name__} is a list: it takes {CursorParameters.__name__}")
    http_request = inspect.Parameter(
        "http_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request
    )
    return inspect.Signature([http_request, *map(_keyword, given), *more])


def _require_next_to_have_all(route: BaseRoute) -> None:
    """Raise `TypeError` if a list has query parameters that its `next` links would lack."""
    assert isinstance(route, ApiRoute)
    if len(declared_parameters(route.dependant)) > 1:
        raise TypeError(
            f"{route.name} is a list: its query parameters are fields of one class, a subclass of"
            f" {CursorParameters.__name__}, so that its `next` links have them"
        )


def _is_a(parameter: inspect.Parameter, type_: type) -> bool:
    annotation = getattr(parameter.annotation, "__origin__", parameter.annotation)  # of Annotated
    return inspect.isclass(annotation) and issubclass(annotation, type_)


def _keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    annotation = parameter.annotation
    if _is_a(parameter, CursorParameters):
        annotation = Annotated[annotation, Query()]  # once more does no harm
    return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


def _page_key(arguments: Arguments, query: CursorParameters, access: Access | None) -> str | None:
    """Return the page's key within its list, `{filters…}:{page}:{limit}`.

    None for a page that is not cached, as it begins after a cursor or is not page-aligned.
    """
    if not isinstance(query, PageParameters) or (number := query.page_number) is None:
        return None
    path = (value for value in arguments.values() if value is not query)
    caller = [] if access is None else [digest(access.view)]
    filters = map(_key_part, (*path, *query.filters()))
    return ":".join((*caller, *filters, str(number), str(query.limit)))


def _key_part(value: object) -> str:
    """Return a filter's value as an unambiguous part of a key.

    Raises `TypeError` for a value whose text may be that of another one, such as a `SecretStr`.
    """
    if value is None:
        return "all"
    for one in value if isinstance(value, list | tuple | set) else (value,):
        if not isinstance(one, FILTERS):
            raise TypeError(f"a cached list cannot take a {type(one).__name__}: it is not a filter")
    return "%61ll" if value == "all" else quote(str(value), safe="")


def _content(path: str, arguments: Arguments) -> str:
    """Return a text that is equal for equal requests to create an item of one resource."""
    return json.dumps(_in_full([path, *arguments.values()]))


def _in_full(value: object) -> object:
    """Return a value with its excluded fields, and the members of objects and sets in order.

    A `SecretStr` is ten asterisks: its hash, which is stored, would let it be guessed.
    """
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        return sorted([str(name), _in_full(one)] for name, one in value.items())
    if isinstance(value, set | frozenset):
        return sorted(map(_in_full, value), key=repr)
    if isinstance(value, list | tuple):
        return list(map(_in_full, value))
    return [type(value).__name__, str(value)]


def _json(schema: type[BaseModel], row: object) -> bytes:
    return schema.model_validate(row).model_dump_json(by_alias=True).encode()
