"""Optimizations of cold starts. They take effect only when a handler asks for them:

    with fast_imports(deferred=("blog.database", "users.queries")):
        from blog.http.application import create_app, lambda_handler
        from users.routes import router

`python -m benchmarks ablation` measures what each of them saves.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from blog.coldstart.deferred_models import defer_openapi_models
from blog.coldstart.lazy_imports import defer_import

COLLECT_AFTER_OBJECTS = 20_000
"""A request leaves some hundred objects to collect. At Python's default of 700 the collector would
run many times during a deferred import."""


@contextmanager
def fast_imports(*, deferred: Sequence[str] = ()) -> Iterator[None]:
    """Speed up the imports within the block.

    The garbage collector is paused, and the imported objects are excluded from later collections.
    FastAPI's OpenAPI models are created when first used, which in a function they never are. The
    `deferred` modules are imported when first used.
    """
    gc.disable()
    defer_openapi_models()
    for name in deferred:
        defer_import(name)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER_OBJECTS)
        gc.enable()
