"""Modules that are imported when they are first used.

A list page that is cached needs no database, and SQLAlchemy with its driver costs a cold start
more than everything else. The cost: what is wrong in such a module shows at the first request that
needs it, not at the start. It shows at every later one too: `importlib.util.LazyLoader` would leave
half a module behind, whose uses fail with an `AttributeError` that hides the reason.
"""

import importlib
import importlib.util
import sys
from types import ModuleType


class DeferredModule(ModuleType):
    """Takes the place of a module until one of its names is used; an import that fails is tried
    again by the next use."""

    def __getattr__(self, name: str) -> object:
        module = self.__dict__.get("_imported")
        if module is None:
            module = self.__dict__["_imported"] = self._import()
        return getattr(module, name)

    def _import(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)


def defer_import(name: str) -> None:
    """Let a later `import` of the module bind a `DeferredModule`.

    Raises `ModuleNotFoundError` when there is none. Does nothing when it was imported before.
    """
    if name in sys.modules:
        return
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.modules[name] = module = DeferredModule(name)
    parent, _, child = name.rpartition(".")
    if parent:
        # As an import does it: `from parent import child` would look for its own otherwise.
        setattr(sys.modules[parent], child, module)
