"""Modules that are imported when they are used, not when they are named.

A list page that is cached needs no database, and SQLAlchemy with its driver costs a cold start
more than all the rest. Such a module is named so, and imported by the first request that needs it:

    if TYPE_CHECKING:
        from users import queries
    else:
        queries = lazy_module("users.queries")

The cost: what is wrong in the module shows at that request, not at the start.
"""

import importlib.util
import sys
from types import ModuleType


def lazy_module(name: str) -> ModuleType:
    """The module, which runs when the first of its names is asked for.

    Raises `ModuleNotFoundError` when there is none. The way is that of `importlib`'s documentation,
    "Implementing lazy imports".
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(name, name=name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
