"""A check of the database's triggers against the models.

A cached page of a table that a trigger writes also depends on the table that fires the trigger,
which the models must declare (`shared.database.dependencies`). A migration that adds an undeclared
trigger fails, before a page can be stale.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, text

from shared.database.dependencies import DERIVED_FROM, ROWS_OF, UNTRACKED
from shared.database.models import METADATA

TRIGGERS = text("""
SELECT fired.relname AS table_name, function.proname AS function_name
FROM pg_trigger AS fires
JOIN pg_class AS fired ON fired.oid = fires.tgrelid
JOIN pg_proc AS function ON function.oid = fires.tgfoid
WHERE NOT fires.tgisinternal
""")
FUNCTIONS = text("""
SELECT proname, prosrc FROM pg_proc
JOIN pg_namespace ON pg_namespace.oid = pronamespace
JOIN pg_language ON pg_language.oid = prolang
WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND lanname IN ('sql', 'plpgsql')
""")
WRITTEN = re.compile(
    r"\b(?:insert\s+into|update(?!\s+set\b|\s+of\b|\s+skip\b)|delete\s+from|merge\s+into|truncate)"
    r"\s+(?:table\s+)?(?:only\s+)?(?:\w+\.)?\"?(%?\w+)",
    re.IGNORECASE,
)


class UndeclaredTrigger(Exception):
    """A trigger writes a table whose model does not declare it."""


def check_triggers(connection: Connection) -> None:
    """Raise `UndeclaredTrigger` for the first trigger whose writes no model declares."""
    sources = {row.proname: str(row.prosrc) for row in connection.execute(FUNCTIONS)}
    for table_name, function in connection.execute(TRIGGERS).all():
        for written in sorted(_written_by(function, sources)):
            _check(table_name, function, written)


def _check(fired: str, function: str, written: str) -> None:
    if "%" in written:
        raise UndeclaredTrigger(
            f"the trigger function {function} of {fired} writes a table that its text does not name"
        )
    table = METADATA.tables.get(written)
    if table is not None and fired in METADATA.tables and not _is_declared(table.info, fired):
        raise UndeclaredTrigger(
            f"a trigger of {fired} ({function}) writes {written}, whose cached pages would be "
            f"stale: give the model of {written} info={{DERIVED_FROM: ({fired!r},)}}"
        )


def _is_declared(info: Mapping[Any, Any], fired: str) -> bool:
    return UNTRACKED in info or ROWS_OF in info or fired in info.get(DERIVED_FROM, ())


def _written_by(function: str, sources: Mapping[str, str]) -> set[str]:
    """Return the tables that a function writes, itself or by functions that it calls."""
    return {
        written
        for name in _called(function, sources, set())
        for written in WRITTEN.findall(sources[name])
    }


def _called(function: str, sources: Mapping[str, str], seen: set[str]) -> Iterator[str]:
    if function in seen or function not in sources:
        return
    seen.add(function)
    yield function
    for name in set(re.findall(r"\w+(?=\s*\()", sources[function])):
        yield from _called(name, sources, seen)
