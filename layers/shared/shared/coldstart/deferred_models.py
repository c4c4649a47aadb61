"""Defer the creation of FastAPI's OpenAPI models until they are used.

On import FastAPI creates about 40 pydantic models of the OpenAPI document, a third of the import
time of a cold start, but the functions generate no document: MetaFunction serves a file. So a stub
replaces their module. Code that instantiates a model, such as `app.openapi()` and FastAPI's
security classes, gets the real one, which is created then.

The cost: the stub depends on which names FastAPI imports from the module, and on the one object
that FastAPI creates during import. A test compares the documents made with and without the stub.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

MODELS = "fastapi.openapi.models"


class _Deferred(type):
    """Stub of a model: calls create the real one, attributes are the real one's."""

    def __call__(cls, **fields: Any) -> Any:
        # FastAPI's import creates one without fields, as a default: to pydantic {} is the same.
        return getattr(_real_models(), cls.__name__)(**fields) if fields else {}

    def __getattr__(cls, name: str) -> Any:
        return getattr(_real_models(), cls.__name__).__dict__[name]


class _Stub(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Deferred(name, (), {})


def _real_models() -> ModuleType:
    if isinstance(sys.modules[MODELS], _Stub):
        del sys.modules[MODELS]
    return importlib.import_module(MODELS)


def defer_openapi_models() -> None:
    """Install the stub; it has no effect if FastAPI was imported before."""
    if "fastapi" not in sys.modules:
        sys.modules[MODELS] = _Stub(MODELS)
