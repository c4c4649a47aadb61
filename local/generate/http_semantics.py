"""What HTTP adds to the operations of the OpenAPI document: headers, conditions, media types.

FastAPI knows routes, bodies and parameters. What all operations of a kind have in common is added
here by the kind, so that no route has to repeat it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from blog.conditions import EXAMPLE_TAG
from blog.errors import InvalidRequest, PreconditionFailed, PreconditionRequired
from blog.http.conditional import CONDITION_PATTERN, CONDITIONAL_METHODS
from blog.http.json_body import IDENTITY, PATCH_TYPES
from blog.http.problems import problem_responses
from blog.http.route import PERMISSION

Operation = dict[str, Any]

HEADERS: dict[str, dict[str, Any]] = {
    "Accept-Encoding": {
        "description": "The content coding that a body may have: none, as defined by RFC 7694.",
        "schema": {"type": "string", "const": IDENTITY},
    },
    "Accept-Patch": {
        "description": "The media types that PATCH takes, as defined by RFC 5789.",
        "schema": {"type": "string", "const": ", ".join(PATCH_TYPES)},
    },
    "ETag": {
        "description": "The version of what the response shows, for If-Match and If-None-Match.",
        "schema": {"type": "string", "pattern": '^"[!#-~]+"$', "examples": [EXAMPLE_TAG]},
    },
    "Link": {
        "description": "The next page, unless it is the last one, as defined by RFC 8288.",
        "schema": {"type": "string", "examples": ['</users?limit=10&cursor=AAAA>; rel="next"']},
    },
    "Location": {
        "description": "Path of what was created.",
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/users/1"]},
    },
    "RateLimit": {
        "description": "What is left of the caller's limit, and the seconds until it is whole.",
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
        "description": "What kind of token is needed, as defined by RFC 6750.",
        "schema": {"type": "string", "examples": ['Bearer realm="users-and-posts"']},
    },
    "X-Request-Id": {
        "description": "The request's id: the client's, if it sent one, or API Gateway's.",
        "schema": {"type": "string", "maxLength": 128, "examples": ["JKJaXmPLvHcESHA="]},
    },
}
RARE = ("Accept-Encoding", "Link", "RateLimit", "RateLimit-Policy")
"""Only if the body is compressed; not on the last page; not without a limit."""
CONDITIONS = {
    "If-Match": "Do it only if the resource still has one of these ETags; `*` for any.",
    "If-None-Match": "Do it only if the resource has none of these ETags.",
}
PROBLEM_AND_JSON = ("application/problem+json", "application/json")
"""The media types of a response that is a function's or API Gateway's own."""
NOT_MODIFIED = {"description": "What If-None-Match names has not changed; without a body."}


def add_http_semantics(document: dict[str, Any]) -> None:
    document["components"]["headers"] = {
        name: header | {"required": True} for name, header in HEADERS.items() if name not in RARE
    }
    for method, operation in _operations(document):
        is_read = method == "get"
        if is_read and PERMISSION in operation:
            _add_conditions(operation, CONDITIONS, problem_responses(PreconditionFailed))
            operation["responses"]["304"] = dict(NOT_MODIFIED)
        if method.upper() in CONDITIONAL_METHODS:
            errors = problem_responses(PreconditionFailed, PreconditionRequired)
            _add_conditions(operation, ["If-Match"], errors)
        # Every operation rejects query parameters that it does not know.
        rejected = problem_responses(InvalidRequest)
        operation["responses"] = {str(key): value for key, value in rejected.items()} | operation[
            "responses"
        ]
        if method == "patch":
            _, merge_patch = PATCH_TYPES
            content = operation["requestBody"]["content"]
            content[merge_patch] = content["application/json"]
        operation["responses"] = dict(sorted(operation["responses"].items()))
        for status, response in operation["responses"].items():
            names = sorted(_headers(document, method, operation, int(status)))
            is_gateways = {*PROBLEM_AND_JSON} <= set(response.get("content", {}))
            response["headers"] = {name: _reference(name, status, is_gateways) for name in names}


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, Operation]]:
    for methods in document["paths"].values():
        yield from methods.items()


def _add_conditions(
    operation: Operation, names: Iterable[str], errors: dict[int | str, Any]
) -> None:
    operation["responses"] |= {str(status): response for status, response in errors.items()}
    operation["parameters"] = operation.get("parameters", []) + [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": CONDITIONS[name],
            "schema": {
                "type": "string",
                "pattern": CONDITION_PATTERN,
                "examples": [EXAMPLE_TAG],
            },
        }
        for name in names
    ]


def _headers(
    document: dict[str, Any], method: str, operation: Operation, status: int
) -> Iterator[str]:
    yield "X-Request-Id"
    if status in (200, 304) and method == "get" and PERMISSION in operation:
        yield "ETag"
    if status == 201 or (status == 200 and method == "patch"):
        yield "ETag"
    if status == 200 and _is_page(document, operation):
        yield "Link"
    if status == 201:
        yield "Location"
    if status in (401, 403):
        yield "WWW-Authenticate"
    if status in (409, 429, 503):
        yield "Retry-After"
    if status == 415:
        yield "Accept-Encoding"
    if status == 415 and method == "patch":
        yield "Accept-Patch"
    if status != 401:
        yield from ("RateLimit", "RateLimit-Policy")


def _reference(name: str, status: str, is_gateways: bool) -> dict[str, Any]:
    """Return the header's; those that only some responses with the status have are not required.

    API Gateway's own responses have neither a request id of this kind nor a Retry-After.
    """
    is_rare = name in RARE or (name, status) in {("Retry-After", "409"), ("ETag", "201")}
    if is_rare or (name in ("Retry-After", "X-Request-Id") and is_gateways):
        return HEADERS[name] | {"required": False}
    return {"$ref": f"#/components/headers/{name}"}


def _is_page(document: dict[str, Any], operation: Operation) -> bool:
    content = operation["responses"].get("200", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return {"data", "next"} <= set(schema.get("properties", {}))
