"""A check of the database's triggers and rules against the models.

A cached page of a table that a trigger writes also depends on the table that fires the trigger,
which the models must declare (`shared.database.dependencies`). A migration that adds an undeclared
trigger fails, before a page can be stale. The check reads the texts of functions, as PostgreSQL
does not know what they write before they run: docs/cache.md says what it does not see.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from shared.database.dependencies import DERIVED_FROM, ROWS_OF, UNTRACKED
from shared.database.models import METADATA

TRIGGERS = text("""
SELECT fired.relname, function.proname, function.proname || '()'
FROM pg_trigger AS fires
JOIN pg_class AS fired ON fired.oid = fires.tgrelid
JOIN pg_proc AS function ON function.oid = fires.tgfoid
WHERE NOT fires.tgisinternal
UNION ALL
SELECT fired.relname, rule.rulename, pg_get_ruledef(rule.oid)
FROM pg_rewrite AS rule
JOIN pg_class AS fired ON fired.oid = rule.ev_class
WHERE rule.rulename <> '_RETURN'
""")
"""Tables with the names and the texts of their triggers, calls of functions, and of their rules."""
FUNCTIONS = text("""
SELECT lower(proname), string_agg(coalesce(pg_get_function_sqlbody(pg_proc.oid), prosrc), '; ')
FROM pg_proc
JOIN pg_namespace ON pg_namespace.oid = pronamespace
JOIN pg_language ON pg_language.oid = prolang
WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND lanname IN ('sql', 'plpgsql')
GROUP BY lower(proname)
""")
VIEWS = text("""
SELECT named.relname, whole.relname
FROM pg_depend AS dependency
JOIN pg_rewrite AS view ON view.oid = dependency.objid
JOIN pg_class AS named ON named.oid = view.ev_class AND named.relkind = 'v'
JOIN pg_class AS whole ON whole.oid = dependency.refobjid
JOIN pg_namespace ON pg_namespace.oid = named.relnamespace
WHERE dependency.classid = 'pg_rewrite'::regclass AND dependency.refclassid = 'pg_class'::regclass
AND nspname NOT IN ('pg_catalog', 'information_schema')
""")
"""Views with the tables, or views, that they select from."""
COMMENT = re.compile(r"('(?:[^']|'')*')|--[^\n]*|/\*.*?\*/", re.DOTALL)
VERB = (
    r"\b(?:insert\s+into|update(?!\s+set\b|\s+of\b|\s+skip\b)|delete\s+from|merge\s+into|truncate)"
)
WRITTEN = re.compile(rf"{VERB}\s+(?:table\s+)?(?:only\s+)?(?:[\w%]+\s*\.\s*)?(%?\w+)")
UNNAMED = re.compile(
    rf"{VERB}\s+'\s*\|\|"
    r"|(?:[;>]|\b(?:begin|then|else|loop|in|for|query))\s*execute\s+(?!format\s*\(|'|\$[a-z_$])"
)
"""A statement in parts, of which none has a verb with a table."""


class UndeclaredTrigger(Exception):
    """A trigger writes a table whose model does not declare it."""


def check_triggers(connection: Connection) -> None:
    """Raise `UndeclaredTrigger` for the first trigger or rule whose writes no model declares."""
    functions = {name: _plain(source) for name, source in connection.execute(FUNCTIONS).all()}
    views = [(name, table) for name, table in connection.execute(VIEWS).all()]
    for table_name, name, source in connection.execute(TRIGGERS).all():
        for written in sorted(_written_by(_plain(source), functions, views)):
            _check(table_name, name, written)


def _plain(source: str) -> str:
    """Return the text in lower case, without comments and the quotes of names."""
    return COMMENT.sub(lambda found: found[1] or " ", source).replace('"', "").lower()


def _check(fired: str, function: str, written: str) -> None:
    if "%" in written:
        raise UndeclaredTrigger(
            f"a trigger of {fired} ({function}) writes a table that its text does not name"
        )
    table = METADATA.tables.get(written)
    if table is not None and fired in METADATA.tables and not _is_declared(table.info, fired):
        raise UndeclaredTrigger(
            f"a trigger of {fired} ({function}) writes {written}, whose cached pages would be "
            f"stale: give the model of {written} info={{DERIVED_FROM: ({fired!r},)}}"
        )


def _is_declared(info: Mapping[Any, Any], fired: str) -> bool:
    return UNTRACKED in info or ROWS_OF in info or fired in info.get(DERIVED_FROM, ())


def _written_by(
    source: str, functions: Mapping[str, str], views: Sequence[tuple[str, str]]
) -> set[str]:
    """Return the tables that a text writes, itself or by functions that it calls.

    One that the text does not name is called %.
    """
    texts = list(_texts(source, functions, set()))
    written = {name for one in texts for name in WRITTEN.findall(one)}
    if any(map(UNNAMED.search, texts)):
        written.add("%")
    found = list(written)
    for name in found:
        found += [table for view, table in views if view == name and table not in found]
    return set(found)


def _texts(source: str, functions: Mapping[str, str], called: set[str]) -> Iterator[str]:
    yield source
    for name in re.findall(r"\w+(?=\s*\()", source):
        if name in functions and name not in called:
            called.add(name)
            yield from _texts(functions[name], functions, called)
