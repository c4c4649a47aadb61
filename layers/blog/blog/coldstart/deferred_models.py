"""FastAPI without the models of its OpenAPI document, until they are used.

FastAPI makes some 40 pydantic models of that document when it is imported, a third of all that a
cold start imports, and the functions serve no document: MetaFunction serves a file that was made
beforehand. So a stub takes the place of their module. Code that makes a model of it, as
`app.openapi()` and FastAPI's security classes do, gets the real one, and waits for it then.

The cost: this knows which names FastAPI takes from the module, and that it makes one object of it
while it is imported. A test makes the document both ways.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

MODELS = "fastapi.openapi.models"


class _Deferred(type):
    """A model's stub: it makes objects of the real one, and has its attributes."""

    def __call__(cls, **fields: Any) -> Any:
        # Made while FastAPI is imported, as an argument's default: {} means the same to pydantic.
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
    """Call it before FastAPI is imported; afterwards it does nothing."""
    if "fastapi" not in sys.modules:
        sys.modules[MODELS] = _Stub(MODELS)
