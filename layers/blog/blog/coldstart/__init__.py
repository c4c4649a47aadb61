"""What makes a cold start shorter. Nothing here has an effect until a handler asks for it:

    with fast_imports(deferred=("blog.database", "users.queries")):
        from blog.http.application import create_app, lambda_handler
        from users.routes import router

`python -m benchmarks ablation` shows what each trick saves.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from blog.coldstart.deferred_models import defer_openapi_models
from blog.coldstart.lazy_imports import defer_import

COLLECT_AFTER_OBJECTS = 20_000
"""A request leaves some hundred behind. Python's default of 700 would collect again and again in
the midst of a deferred import."""


@contextmanager
def fast_imports(*, deferred: Sequence[str] = ()) -> Iterator[None]:
    """Import within the block what stays for good, as cheaply as possible.

    The garbage collector pauses: what is imported is not garbage. FastAPI's models of its OpenAPI
    document are made when they are first used, which in a function they never are. The `deferred`
    modules are imported when they are first used.
    """
    gc.disable()
    defer_openapi_models()
    for name in deferred:
        defer_import(name)
    try:
        yield
    finally:
        gc.freeze()  # what was imported need not be looked through again
        gc.set_threshold(COLLECT_AFTER_OBJECTS)
        gc.enable()
