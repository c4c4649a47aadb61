"""The documentation and the health check."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel

from meta.health import Health, check_health
from meta.pages import (
    SWAGGER_UI_FILES,
    Page,
    accepts_gzip,
    compressed,
    problems_page,
    swagger_ui_file,
    swagger_ui_page,
    swagger_ui_version,
)
from shared.errors import RETRY_AFTER_SECONDS, NotFound
from shared.http.route import operation_id
from shared.request import request_of
from shared.settings import settings

OPENAPI_FILE = Path(__file__).with_name("openapi.json")
SERVER = b'"servers": [\n    {\n      "url": "%b"'
PROBLEM_LINKS = (b'"/problems#', b"](/problems)")
"""The beginnings of links to the problem types in the document, in `type` and in descriptions."""
IMMUTABLE = "public, max-age=31536000, immutable"

router = APIRouter(tags=["meta"], generate_unique_id_function=operation_id)


@router.get("/", include_in_schema=False)
async def home(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request_of(request.scope).base_path}/docs")


@router.get("/docs", response_class=HTMLResponse)
async def get_docs() -> HTMLResponse:
    """Return this document as Swagger UI."""
    return _html(swagger_ui_page())


@router.get("/docs/{name}", include_in_schema=False)
async def get_swagger_ui_file(name: str, request: Request, v: str | None = None) -> Response:
    if name not in SWAGGER_UI_FILES:
        raise NotFound("There is no such file.")
    version = swagger_ui_version(name)
    headers = {"Cache-Control": IMMUTABLE} if v == version else {}
    return _document(request, swagger_ui_file(name), SWAGGER_UI_FILES[name], version, headers)


@router.get("/openapi.json")
async def get_openapi(request: Request) -> Response:
    """Return the OpenAPI document of all functions."""
    return _document(request, _openapi(request_of(request.scope).base_path), "application/json")


@router.get("/problems", response_class=HTMLResponse)
async def get_problems() -> HTMLResponse:
    """Return a page that explains every error of the API."""
    return _html(problems_page())


@router.get(
    "/health",
    responses={
        503: {
            "model": Health,
            "description": "PostgreSQL is down or read-only.",
            "headers": {"Retry-After": {}},
        }
    },
)
async def get_health(request: Request, response: Response) -> Health:
    """Report whether PostgreSQL and Redis are up, within 2 seconds.

    The report is at most a second old. A PostgreSQL that pauses when idle is `unchecked`.
    """
    response.headers["Cache-Control"] = "no-store"
    health = await check_health(request_of(request.scope))
    if health.status == "down":
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return health


class ProtectedResource(BaseModel):
    """Metadata of an OAuth 2.0 protected resource, as defined by RFC 9728."""

    resource: str
    authorization_servers: list[str] | None = None
    bearer_methods_supported: list[str]


@router.get("/.well-known/oauth-protected-resource", response_model_exclude_none=True)
async def get_protected_resource(request: Request) -> ProtectedResource:
    """Return the issuer whose tokens the API accepts; an open API has none."""
    is_open = settings().auth == "open"
    return ProtectedResource(
        resource=f"{request.url.scheme}://{request.url.netloc}{request_of(request.scope).base_path}",
        authorization_servers=None if is_open else [settings().token_issuer],
        bearer_methods_supported=[] if is_open else ["header"],
    )


def _html(page: Page) -> HTMLResponse:
    return HTMLResponse(page.html, headers={"Content-Security-Policy": page.policy})


def _document(
    request: Request,
    content: bytes,
    media_type: str,
    version: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the content, compressed if the client accepts that; 304 if it has this `version`."""
    is_compressed = accepts_gzip(request.headers.get("accept-encoding", ""))
    headers = {**(headers or {}), "Vary": "Accept-Encoding"}
    if version is not None:
        # Each encoding is a representation with a strong tag of its own (RFC 9110, 8.8.3.3).
        headers["ETag"] = tag = f'"{version}-gzip"' if is_compressed else f'"{version}"'
        known = request.headers.get("if-none-match", "")
        if tag in known or known == "*":
            return Response(status_code=304, headers=headers)
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
        content = compressed(content)
    return Response(content, headers=headers, media_type=media_type)


@cache
def _openapi(base: str) -> bytes:
    """Return the document of an API below this base path."""
    document = OPENAPI_FILE.read_bytes()
    if base:
        document = document.replace(SERVER % b"/", SERVER % base.encode(), 1)
        for link in PROBLEM_LINKS:
            document = document.replace(link, link.replace(b"/", base.encode() + b"/"))
    return document
