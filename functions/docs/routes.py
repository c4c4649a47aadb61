"""HTTP routes of the documentation and the health check."""

from functools import cache
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from blog.errors import RETRY_AFTER_SECONDS, NotFound
from docs.health import Health, check_health
from docs.pages import SWAGGER_UI, SWAGGER_UI_FILES, problems_page, swagger_ui_file

OPENAPI_FILE = Path(__file__).with_name("openapi.json")
IMMUTABLE = "public, max-age=86400"

router = APIRouter(tags=["docs"])


@router.get("/", include_in_schema=False)
async def home() -> RedirectResponse:
    return RedirectResponse("/docs")


@router.get("/docs", response_class=HTMLResponse)
async def show_docs() -> str:
    """Show this document as Swagger UI."""
    return SWAGGER_UI


@router.get("/docs/{name}", include_in_schema=False)
async def show_swagger_ui_file(name: str) -> Response:
    if name not in SWAGGER_UI_FILES:
        raise NotFound("There is no such file.")
    headers = {"Content-Encoding": "gzip", "Cache-Control": IMMUTABLE}
    return Response(swagger_ui_file(name), headers=headers, media_type=SWAGGER_UI_FILES[name])


@router.get("/openapi.json")
async def show_openapi() -> Response:
    """Show the OpenAPI document of all functions."""
    return Response(_openapi(), media_type="application/json")


@router.get("/problems", response_class=HTMLResponse)
async def show_problems() -> str:
    """Explain every error that the API can answer with."""
    return problems_page()


@router.get(
    "/health",
    responses={503: {"model": Health, "description": "PostgreSQL does not answer."}},
)
async def show_health(response: Response) -> Health:
    """Say whether PostgreSQL and Redis answer; it takes 2 seconds at most."""
    health = await check_health()
    if health.status == "down":
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return health


@cache
def _openapi() -> bytes:
    return OPENAPI_FILE.read_bytes()
