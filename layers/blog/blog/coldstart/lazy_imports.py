"""Modules that are imported when first used.

A cached page needs no database, and SQLAlchemy with its driver costs a cold start more than
everything else. The cost: an error in such a module appears at the first request that needs it
instead of at the start. Every later use raises it again; after `importlib.util.LazyLoader` a later
use would fail with an unrelated `AttributeError`.
"""

import importlib
import importlib.util
import sys
from types import ModuleType

from blog.coldstart.collector import collector_paused


class DeferredModule(ModuleType):
    """Placeholder for a module, which is imported when one of its names is used.

    An import that fails is tried again at the next use.
    """

    def __getattr__(self, name: str) -> object:
        module = self.__dict__.get("_imported")
        if module is None:
            module = self.__dict__["_imported"] = self._import()
        return getattr(module, name)

    def _import(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        with collector_paused():
            return importlib.import_module(self.__name__)


def defer_import(name: str) -> None:
    """Make later imports of the module bind a `DeferredModule`.

    Raises `ModuleNotFoundError`. Has no effect if the module was imported before.
    """
    if name in sys.modules:
        return
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.modules[name] = module = DeferredModule(name)
    parent, _, child = name.rpartition(".")
    if parent:
        # As an import does: otherwise `from parent import child` would import it.
        setattr(sys.modules[parent], child, module)
