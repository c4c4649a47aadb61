"""Errors, headers, conditions and security of the operations in the OpenAPI document.

FastAPI documents routes, bodies, parameters and successful responses. The rest follows from an
operation's kind, permission, method and errors, and from the constraints of its table. It is added
here, as it would cost the functions' cold starts. Parts that operations share are components.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import CheckConstraint, Column, Constraint, ForeignKey, Table

from shared.auth.permissions import Grant, grant_of
from shared.conditions import EXAMPLE_TAG
from shared.database.dependencies import action_of
from shared.database.models import CONFLICT, METADATA
from shared.database.violations import UNIQUE
from shared.errors import (
    ApiError,
    Conflict,
    ContentTooLarge,
    Forbidden,
    InternalError,
    InvalidRequest,
    MalformedJson,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    RequestInProgress,
    ResourceInUse,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
    concrete_errors,
)
from shared.http.conditional import CONDITION_PATTERN
from shared.http.json_body import IDENTITY, PATCH_TYPES
from shared.http.problems import ERRORS, PROBLEM_MEDIA_TYPE
from shared.http.route import CACHED, KIND, PERMISSION

Operation = dict[str, Any]
Components = dict[str, dict[str, Any]]
Errors = set[type[ApiError]]


class Kind(NamedTuple):
    """What the operations of a kind share; `headers` are those of the successful response."""

    errors: tuple[type[ApiError], ...] = ()
    conditions: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


CONDITIONS = {
    "If-Match": "Respond with 412 unless the resource has one of these ETags; `*` for any.",
    "If-None-Match": "Respond with 304 if the resource has one of these ETags; `*` for any.",
}
KINDS = {
    "create": Kind((), headers=("ETag", "Location")),
    "list": Kind((), (*CONDITIONS,), ("ETag", "Link")),
    "read": Kind((), (*CONDITIONS,), ("ETag",)),
    "replace": Kind((PreconditionRequired,), ("If-Match",)),
    "update": Kind((PreconditionRequired,), ("If-Match",), ("ETag",)),
    "action": Kind((), ("If-Match",), ("ETag",)),
    "delete": Kind((PreconditionRequired,), ("If-Match",)),
    "link": Kind(()),
    "unlink": Kind(()),
}
"""The kinds of `shared.http.resource`; each path with a parameter may be `NotFound`, too."""

HEADERS: dict[str, dict[str, Any]] = {
    "Accept-Encoding": {
        "description": "The content coding that a body may have: none, as defined by RFC 7694.",
        "schema": {"type": "string", "const": IDENTITY},
    },
    "Accept-Patch": {
        "description": "In response to PATCH: the media types that it accepts, by RFC 5789.",
        "schema": {"type": "string", "const": ", ".join(PATCH_TYPES)},
    },
    "ETag": {
        "description": "The version of the response, for If-Match and If-None-Match.",
        "schema": {"type": "string", "pattern": '^"[!#-~]+"$', "examples": [EXAMPLE_TAG]},
    },
    "Link": {
        "description": "The next page, unless it is the last one, as defined by RFC 8288.",
        "schema": {"type": "string", "examples": ['</articles?limit=10&cursor=AAAA>; rel="next"']},
    },
    "Location": {
        "description": "Path of the created resource.",
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/articles/1"]},
    },
    "RateLimit": {
        "description": "Requests that the caller may send at once, and seconds until one more.",
        "schema": {"type": "string", "examples": ['"read";r=299;t=1']},
    },
    "RateLimit-Policy": {
        "description": "The caller's limit: requests, and the seconds of its window.",
        "schema": {"type": "string", "examples": ['"read";q=600;w=60']},
    },
    "Retry-After": {
        "description": "Seconds after which to retry.",
        "schema": {"type": "integer", "format": "int32", "minimum": 1, "examples": [1]},
    },
    "WWW-Authenticate": {
        "description": "The required kind of token, as defined by RFC 6750.",
        "schema": {"type": "string", "examples": ['Bearer realm="users-and-posts"']},
    },
    "X-Request-Id": {
        "description": "The request's id: the client's, if it sent one, or API Gateway's.",
        "schema": {"type": "string", "maxLength": 128, "examples": ["JKJaXmPLvHcESHA="]},
    },
}
LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy")
NEVER_REQUIRED = ("Accept-Encoding", "Accept-Patch", "Link", *LIMIT_HEADERS)
"""Sent only for a compressed body; for PATCH; except on the last page; with a limit."""
ERROR_HEADERS: dict[type[ApiError], tuple[str, ...]] = {
    Unauthorized: ("WWW-Authenticate",),
    Forbidden: ("WWW-Authenticate",),
    RequestInProgress: ("Retry-After",),
    UnsupportedMediaType: ("Accept-Encoding", "Accept-Patch"),
    TooManyRequests: ("Retry-After",),
    ServiceUnavailable: ("Retry-After",),
}
GATEWAYS_MESSAGES: dict[type[ApiError], str] = {
    Unauthorized: "Unauthorized",
    TooManyRequests: "Too Many Requests",
    InternalError: "Internal Server Error",
    ServiceUnavailable: "Service Unavailable",
}
"""API Gateway's own responses: without a valid token, above its throttling, and if the function
crashed, took too long, or could not be started. They lack X-Request-Id and Retry-After."""
WRITING = ("create", "replace", "update", "action")
"""The kinds that write the values of a row."""
BODY_ERRORS = {MalformedJson, ContentTooLarge, UnsupportedMediaType}
BY_NAME = {error.__name__: error for error in concrete_errors()}


def add_http_semantics(document: dict[str, Any]) -> None:
    """Complete FastAPI's document, and move shared parts to its components."""
    components: Components = document["components"] | {"responses": {}, "headers": {}}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation.pop(CACHED, None)
            name = operation.pop(KIND, "")
            kind = KINDS.get(name, Kind())
            operation["security"] = [{"token": []}] if PERMISSION in operation else []
            if kind.conditions:
                own = operation.get("parameters", [])
                operation["parameters"] = own + [_condition(one) for one in kind.conditions]
            if method == "patch" and "requestBody" in operation:
                content = operation["requestBody"]["content"]
                content |= dict.fromkeys(PATCH_TYPES, content["application/json"])
            errors = _errors(path, method, operation, kind)
            table = METADATA.tables.get(operation["tags"][0])
            if table is not None:
                errors |= errors_of_constraints(name, table)
            _add_responses(components, operation, kind, errors)
    components["parameters"] = _share_parameters(document)
    document["components"] = {
        section: dict(sorted(named.items())) for section, named in sorted(components.items())
    }


def errors_of_constraints(kind: str, table: Table) -> Errors:
    """Return the errors of an operation of this kind that the constraints of the models make.

    A constraint with the text of a `CONFLICT` is a rule, which a write of its table may violate,
    and so may a deletion that sets a column of the rule to null.
    """
    if kind != "delete":
        return {Conflict} if kind in WRITING and _rules(table) else set()
    set_columns = [
        key.parent for key in _referring(table) if action_of(key.ondelete).startswith("SET")
    ]
    errors: Errors = {ResourceInUse} if restricting(table) else set()
    if any(_names(rule, column) for column in set_columns for rule in _rules(column.table)):
        errors.add(Conflict)
    return errors


def restricting(table: Table) -> list[Table]:
    """Return the tables whose rows stop the deletion of a row to which they refer, or of one to
    whose deletion theirs would cascade."""
    stopping = [key.parent.table for key in _referring(table) if not action_of(key.ondelete)]
    return [*dict.fromkeys(stopping)]


def _referring(table: Table) -> Iterator[ForeignKey]:
    """Yield the foreign keys to the table, and to those to which the deletion of a row cascades."""
    columns = [column for child in METADATA.sorted_tables for column in child.columns]
    keys = [key for column in columns for key in column.foreign_keys]
    reached = [table]
    for one in reached:
        for key in keys:
            if key.column.table is one:
                yield key
                if action_of(key.ondelete) == "CASCADE" and key.parent.table not in reached:
                    reached.append(key.parent.table)


def _rules(table: Table) -> list[Constraint]:
    """Return the constraints whose violation is a `Conflict`; of unique values it is another."""
    constraints = [one for one in table.constraints if CONFLICT in one.info]
    return [one for one in constraints if not isinstance(one, UNIQUE)]


def _names(rule: Constraint, column: Column[Any]) -> bool:
    text = str(rule.sqltext) if isinstance(rule, CheckConstraint) else ""
    return re.search(rf"\b{re.escape(column.name)}\b", text) is not None


def _errors(path: str, method: str, operation: Operation, kind: Kind) -> Errors:
    errors: Errors = {InvalidRequest, TooManyRequests, *kind.errors}
    if "{" in path:
        errors.add(NotFound)
    permission = operation.get(PERMISSION)
    if permission or method != "get":
        errors |= {InternalError, ServiceUnavailable}
    if permission:
        errors.add(Unauthorized)
        # A caller who may read only its own does not find the others.
        enough = Grant.OWN if method == "get" else Grant.ALL
        if grant_of(permission) < enough:
            errors.add(Forbidden)
    if "requestBody" in operation:
        errors |= BODY_ERRORS
    if kind.conditions:
        errors.add(PreconditionFailed)
    for response in operation["responses"].values():
        errors |= {BY_NAME[name] for name in response.pop(ERRORS, [])}
    return errors


def _condition(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": CONDITIONS[name],
        "schema": {"type": "string", "pattern": CONDITION_PATTERN, "examples": [EXAMPLE_TAG]},
    }


def _add_responses(
    components: Components, operation: Operation, kind: Kind, errors: Errors
) -> None:
    responses: dict[str, Any] = operation["responses"]
    success = min(responses)
    by_status: dict[str, list[type[ApiError]]] = {}
    for error in filter(errors.__contains__, BY_NAME.values()):
        by_status.setdefault(str(error.status), []).append(error)
    for status, response in responses.items():
        names = {"X-Request-Id", *LIMIT_HEADERS, *response.get("headers", {})}
        if status == success:
            names.update(kind.headers)
        # The response to a retried create has no ETag.
        optional = ("ETag",) if status == "201" else ()
        response["headers"] = _headers(components, names, optional)
    if "content" not in responses[success]:
        responses[success] = _shared(components, "responses", "NoContent", responses[success])
    if "If-None-Match" in kind.conditions:
        not_modified = {
            "description": "If-None-Match has the current ETag; the response has no body.",
            "headers": _headers(components, ("ETag", "X-Request-Id", *LIMIT_HEADERS)),
        }
        responses["304"] = _shared(components, "responses", "NotModified", not_modified)
    for status, alike in by_status.items():
        name = "Or".join(error.__name__ for error in alike)
        responses[status] = _shared(components, "responses", name, _problem(components, alike))
    operation["responses"] = dict(sorted(responses.items()))


def _problem(components: Components, errors: list[type[ApiError]]) -> dict[str, Any]:
    """Return the response with these errors, which have one status."""
    content: dict[str, Any] = {}
    content[PROBLEM_MEDIA_TYPE] = {"schema": {"$ref": "#/components/schemas/Problem"}}
    names, optional = ["X-Request-Id"], set[str]()
    if Unauthorized not in errors:
        names += LIMIT_HEADERS
    for error in errors:
        own = ERROR_HEADERS.get(error, ())
        names += own
        optional |= set(own) if len(errors) > 1 else set()
        if message := GATEWAYS_MESSAGES.get(error):
            optional |= {"X-Request-Id", "Retry-After"}
            properties = {"message": {"const": message, "description": "API Gateway's own."}}
            schema = {"type": "object", "required": ["message"], "properties": properties}
            content["application/json"] = {"schema": schema}
    return {
        "description": " Or: ".join(error.description for error in errors),
        "headers": _headers(components, names, optional),
        "content": content,
    }


def _headers(
    components: Components, names: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, Any]:
    """Return references to the headers; `optional`: some responses with this status lack them."""
    headers = {}
    for name in sorted(set(names)):
        is_required = name not in NEVER_REQUIRED and name not in optional
        component = name if is_required or name in NEVER_REQUIRED else f"Optional-{name}"
        header = HEADERS[name] | {"required": is_required}
        headers[name] = _shared(components, "headers", component, header)
    return headers


def _shared(components: Components, section: str, name: str, content: Any) -> dict[str, str]:
    """Return a reference to the component. Raises `ValueError` if another one has its name."""
    if components[section].setdefault(name, content) != content:
        raise ValueError(f"Two {section} of the document would be called {name}.")
    return {"$ref": f"#/components/{section}/{name}"}


def _share_parameters(document: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that several operations have, by name, and refer to them.

    Of different parameters with one name, the most frequent is a component.
    """
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    texts = [json.dumps(one) for operation in operations for one in operation.get("parameters", [])]
    shared: dict[str, Any] = {}
    for text, count in Counter(texts).most_common():
        parameter = json.loads(text)
        if count > 1:
            shared.setdefault(parameter["name"], parameter)
    for operation in operations:
        for number, parameter in enumerate(operation.get("parameters", [])):
            if shared.get(name := parameter["name"]) == parameter:
                operation["parameters"][number] = {"$ref": f"#/components/parameters/{name}"}
    return shared


def resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Return the node, or the component of the document to which it refers."""
    while reference := node.get("$ref"):
        _, section, name = reference.removeprefix("#/").split("/")
        node = document["components"][section][name]
    return node
