"""HTTP responses from the results of functions, as in an API Gateway HTTP API. No I/O."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from local.gateway.events import HOP_BY_HOP

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
NEVER_IN_A_VALUE = re.compile(r"[\0\r\n\f\v]")


class InvalidFunctionResponse(ValueError):
    """API Gateway does not accept the function's result; the client gets a 500."""


@dataclass(frozen=True)
class Response:
    """An HTTP response; header names are as the function wrote them."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def response_of(payload: bytes) -> Response:
    """Return the response for a function's result.

    Raises InvalidFunctionResponse unless it has payload format 2.0.
    """
    try:
        result = json.loads(payload)
    except ValueError as error:
        raise InvalidFunctionResponse("not JSON") from error
    if not isinstance(result, dict) or "statusCode" not in result:
        text = result.encode(errors="replace") if isinstance(result, str) else payload
        return Response(200, [("Content-Type", "application/json")], text)
    headers = _response_headers(result.get("headers") or {})
    cookies = result.get("cookies") or []
    if not isinstance(cookies, list):
        raise InvalidFunctionResponse("cookies is not an array")
    headers += [("Set-Cookie", _header_value(cookie)) for cookie in cookies]
    return Response(_status(result["statusCode"]), headers, _response_body(result))


def _status(value: Any) -> int:
    try:
        status = int(value)
    except (OverflowError, TypeError, ValueError):
        status = 0
    if not 200 <= status <= 599:
        raise InvalidFunctionResponse(f"statusCode is {value!r}")
    return status


def _response_headers(headers: Any) -> list[tuple[str, str]]:
    if not isinstance(headers, dict):
        raise InvalidFunctionResponse("headers is not an object")
    pairs = [(name, _header_value(value)) for name, value in headers.items()]
    for name, _ in pairs:
        if not HEADER_NAME.fullmatch(name):
            raise InvalidFunctionResponse(f"header name {name!r}")
    if "content-type" not in {name.lower() for name, _ in pairs}:
        pairs.append(("Content-Type", "application/json"))
    return [(name, value) for name, value in pairs if name.lower() not in HOP_BY_HOP]


def _header_value(value: Any) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise InvalidFunctionResponse(f"header value {value!r}")
    text = str(value).strip(" \t")
    if NEVER_IN_A_VALUE.search(text):
        raise InvalidFunctionResponse(f"header value {value!r}")
    return text.encode(errors="replace").decode("latin-1")  # on the wire as UTF-8


def _response_body(result: dict[str, Any]) -> bytes:
    body = result.get("body") or ""
    if not isinstance(body, str):
        raise InvalidFunctionResponse("body is not a string")
    if result.get("isBase64Encoded") is not True:
        return body.encode(errors="replace")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        raise InvalidFunctionResponse("body is not base64") from error


def message_response(status: int, message: str) -> Response:
    """Return a response of API Gateway itself."""
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    return Response(status, [("Content-Type", "application/json")], body)
