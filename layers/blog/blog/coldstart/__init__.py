"""Optimizations of cold starts. They take effect only when a handler asks for them:

    with fast_imports(deferred=("blog.database", "users.queries")):
        from blog.http.application import create_app, lambda_handler
        from users.routes import router

    app = create_app(router)
    handler = lambda_handler(app)
    prepare(handler, "/users")

`python -m benchmarks ablation` measures what each of them saves.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from blog.coldstart.collector import collect_rarely, collector_paused
from blog.coldstart.deferred_models import defer_openapi_models
from blog.coldstart.initialization import is_ahead_of_requests, prepare
from blog.coldstart.lazy_imports import defer_import
from blog.coldstart.unused_modules import defer_unused

__all__ = ["fast_imports", "prepare"]

UNUSED = (
    *("redis", "redis.asyncio"),  # cluster, sentinel and blocking clients
    "sqlalchemy.ext.asyncio",  # the ORM
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.pg8000",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.postgresql.psycopg2cffi",
)
"""Modules that others import, and whose own names no function uses."""


@contextmanager
def fast_imports(*, deferred: Sequence[str] = ()) -> Iterator[None]:
    """Speed up the imports within the block.

    The garbage collector is paused, and the imported objects are excluded from later collections.
    FastAPI's OpenAPI models are created when first used, which in a function they never are. The
    `deferred` modules are imported when first used, unless there is time before the first request.
    """
    collect_rarely()
    defer_openapi_models()
    defer_unused(*UNUSED)
    for name in () if is_ahead_of_requests() else deferred:
        defer_import(name)
    with collector_paused():
        yield
