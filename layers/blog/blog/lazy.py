"""Modules that are imported when they are used, not when they are named.

A list page that is cached needs no database, and SQLAlchemy with its driver costs a cold start
more than all the rest. Such a module is named so, and imported by the first request that needs it:

    if TYPE_CHECKING:
        from users import queries
    else:
        queries = LazyModule("users.queries")

The cost: what is wrong in the module shows at that request, not at the start. It shows at every
later one too: `importlib.util.LazyLoader` would leave half a module behind, whose uses fail with an
`AttributeError` that hides the reason.
"""

import importlib
import importlib.util
from types import ModuleType


class LazyModule:
    """The module's names; the first that is asked for imports it.

    An import that fails is raised to its user, and tried again by the next. Raises
    `ModuleNotFoundError` at once when there is no such module.
    """

    __slots__ = ("_imported", "_name")

    def __init__(self, name: str) -> None:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        self._name = name
        self._imported: ModuleType | None = None

    def __getattr__(self, name: str) -> object:
        if self._imported is None:
            self._imported = importlib.import_module(self._name)
        return getattr(self._imported, name)
