"""Optimizations of cold starts. They take effect only when a handler asks for them:

    with fast_imports(deferred=("shared.database", "articles.queries")):
        from shared.http.application import create_app, lambda_handler
        from articles.routes import articles

    app = create_app(articles.router)
    handler = lambda_handler(app)
    prepare(handler, "/articles")

`prepare` makes requests in advance, if an environment is initialized ahead of the first one.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from shared.coldstart.deferred_models import defer_openapi_models
from shared.coldstart.deferred_modules import defer
from shared.coldstart.initialization import is_ahead_of_requests, prepare

__all__ = ["fast_imports", "prepare"]


UNUSED = (
    *("redis", "redis.asyncio"),  # cluster, sentinel and blocking clients
    "sqlalchemy.ext.asyncio",  # the ORM
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.pg8000",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.postgresql.psycopg2cffi",
)
"""Modules that are imported by others, but not used."""


@contextmanager
def fast_imports(*, deferred: Sequence[str] = ()) -> Iterator[None]:
    """Speed up the imports within the block.

    FastAPI's OpenAPI models are created when first used, which never happens in a function. The
    `deferred` modules are executed when first used, unless there is time before the first request.
    Raises `ModuleNotFoundError` if the block does not import a deferred module.
    """
    defer_openapi_models()
    defer(*UNUSED)
    if not is_ahead_of_requests():
        defer(*deferred)
    yield
    if unknown := [name for name in deferred if name not in sys.modules]:
        raise ModuleNotFoundError(f"deferred, but not imported: {', '.join(unknown)}")
