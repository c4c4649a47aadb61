"""What the models declare, compared with a database, in PostgreSQL's own normal form.

PostgreSQL prints equal definitions as equal text, however they were written, so that defaults,
collations, CHECK constraints or predicates of indexes need no rules for their comparison. Columns
that the next release drops (`RETIRED`) are left out.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, MetaData

from migrations.comparison import retired_columns

DECLARED = "declared_by_models"
OF_COLUMN = "ALTER TABLE {table} ALTER COLUMN {name} "
# What defines a part of the schema, and what removes it. A part without an entry is not written.
STATEMENTS = {
    "type": (OF_COLUMN + "TYPE {definition}", None),
    "default": (OF_COLUMN + "SET DEFAULT {definition}", OF_COLUMN + "DROP DEFAULT"),
    "expression": (OF_COLUMN + "SET EXPRESSION AS ({definition})", OF_COLUMN + "DROP EXPRESSION"),
    "identity": (OF_COLUMN + "ADD GENERATED {definition}", OF_COLUMN + "DROP IDENTITY"),
    "index": ("{definition}", "DROP INDEX {name}"),
    "constraint": (
        "ALTER TABLE {table} ADD CONSTRAINT {name} {definition}",
        "ALTER TABLE {table} DROP CONSTRAINT {name}",
    ),
}
REPLACED = ("index", "constraint")
"""Parts that are removed before they are defined again."""
CATALOG = """
WITH tables AS (
    SELECT oid, quote_ident(relname) AS name, relpersistence, reloptions FROM pg_class
    WHERE relnamespace = %(schema)s::regnamespace AND relkind IN ('r', 'p')
        AND relname <> 'alembic_version'
), columns AS (
    SELECT tables.oid, tables.name AS table_name, quote_ident(attname) AS name, attnum, atttypid,
        atttypmod, attcollation, attnotnull, attidentity, attgenerated,
        pg_get_expr(adbin, adrelid) AS expression
    FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = tables.oid AND adnum = attnum
), constraints AS (
    SELECT pg_constraint.oid, tables.name AS table_name, quote_ident(conname) AS name
    FROM tables JOIN pg_constraint ON conrelid = tables.oid AND contype NOT IN ('n', 't')
), types AS (
    SELECT *, quote_ident(typname) AS name FROM pg_type
    WHERE typnamespace = %(schema)s::regnamespace
), sequences AS (
    SELECT seqrelid, format_type(seqtypid, NULL) AS type, concat_ws(' ', 'START', seqstart,
        'INCREMENT', seqincrement, 'MINVALUE', seqmin, 'MAXVALUE', seqmax, 'CACHE', seqcache,
        CASE WHEN seqcycle THEN 'CYCLE' END) AS options
    FROM pg_sequence
)
SELECT 'table' AS kind, name AS table_name, '' AS name, concat_ws(' ',
    CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END, pg_get_partkeydef(oid),
    array_to_string(reloptions, ', ')) AS definition
FROM tables
UNION ALL
SELECT 'type', table_name, columns.name, format_type(atttypid, atttypmod)
    || CASE WHEN attcollation <> typcollation
        THEN ' COLLATE ' || attcollation::regcollation::text ELSE '' END
FROM columns JOIN pg_type ON pg_type.oid = atttypid
UNION ALL
SELECT 'not null', table_name, name, 'NOT NULL' FROM columns WHERE attnotnull
UNION ALL
SELECT 'default', table_name, name, expression FROM columns
WHERE expression IS NOT NULL AND attgenerated = ''
UNION ALL
SELECT 'expression', table_name, name, expression FROM columns WHERE attgenerated <> ''
UNION ALL
SELECT 'generated', table_name, name,
    CASE attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END
FROM columns WHERE attgenerated <> ''
UNION ALL
SELECT 'identity', table_name, name,
    concat(CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
        ' AS IDENTITY (', options, ')')
FROM columns JOIN pg_depend ON refobjid = oid AND refobjsubid = attnum AND deptype = 'i'
    AND refclassid = 'pg_class'::regclass
JOIN sequences ON seqrelid = objid
UNION ALL
SELECT 'index', tables.name, quote_ident(relname), pg_get_indexdef(indexrelid, 0, true)
FROM tables JOIN pg_index ON indrelid = tables.oid JOIN pg_class ON pg_class.oid = indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype <> 'f')
UNION ALL
SELECT 'constraint', table_name, name, pg_get_constraintdef(oid, true) FROM constraints
UNION ALL
SELECT 'enumeration', '', name,
    (SELECT json_agg(enumlabel ORDER BY enumsortorder)::text FROM pg_enum
     WHERE enumtypid = types.oid)
FROM types WHERE typtype = 'e'
UNION ALL
SELECT 'domain', '', name, concat_ws(' ', format_type(typbasetype, typtypmod),
    CASE WHEN typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || typdefault,
    (SELECT string_agg(pg_get_constraintdef(oid), ' ' ORDER BY conname) FROM pg_constraint
     WHERE contypid = types.oid))
FROM types WHERE typtype = 'd'
UNION ALL
SELECT 'sequence', '', quote_ident(relname), concat_ws(' ', type, options)
FROM pg_class JOIN sequences ON seqrelid = oid
WHERE relnamespace = %(schema)s::regnamespace
    AND oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'i')
UNION ALL
SELECT 'comment', tables.name, coalesce(columns.name, ''), description
FROM tables JOIN pg_description ON objoid = tables.oid
    AND classoid = 'pg_class'::regclass
LEFT JOIN columns ON columns.oid = tables.oid AND attnum = objsubid
UNION ALL
SELECT 'comment', table_name, name, description
FROM constraints JOIN pg_description ON objoid = oid
    AND classoid = 'pg_constraint'::regclass
"""


class Difference(NamedTuple):
    """A part of the schema of which the database has another definition than the models, or None.

    `kind` and `name` are PostgreSQL's, the name quoted where necessary; `table` is empty for types
    and sequences.
    """

    kind: str
    table: str
    name: str
    found: str | None
    declared: str | None

    def __str__(self) -> str:
        place = ".".join(filter(None, (self.table, self.name)))
        return (
            f"{self.kind} of {place}: {self.declared or 'none'} in the models, "
            f"{self.found or 'none'} in the database"
        )

    def upgrade(self) -> list[str]:
        """Return the statements that make the database equal to the models, if there are any."""
        return list(self._statements(self.found, self.declared))

    def downgrade(self) -> list[str]:
        """Return the statements that undo those of `upgrade`; an enumeration keeps its values."""
        return list(self._statements(self.declared, self.found))

    def _statements(self, before: str | None, after: str | None) -> Iterator[str]:
        if self.kind == "enumeration" and before and after:
            yield from _added_values(self.name, json.loads(before), json.loads(after))
        if self.kind not in STATEMENTS:
            return
        define, remove = STATEMENTS[self.kind]
        names = {"table": self.table, "name": self.name}
        if remove and before is not None and (after is None or self.kind in REPLACED):
            yield remove.format(**names)
        if after is not None:
            yield define.format(definition=after, **names)


def _added_values(name: str, before: list[str], after: list[str]) -> Iterator[str]:
    """Yield what adds values to an enumeration; PostgreSQL neither removes nor sorts values."""
    if before != [value for value in after if value in before]:
        return
    for number, value in enumerate(after):
        if value not in before:
            place = (
                f"AFTER {quoted(after[number - 1])}" if number else f"BEFORE {quoted(before[0])}"
            )
            yield f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {quoted(value)} {place}"


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def differences(connection: Connection, metadata: MetaData) -> list[Difference]:
    """Return the differences between the models and the connection's current schema.

    The models' tables are created in a schema of their own, in a transaction that is rolled back;
    raises the database's error if they cannot be created, as without a function that an index uses.
    """
    schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    found = _definitions(connection, schema)
    with connection.begin_nested() as savepoint:
        connection.exec_driver_sql(f"CREATE SCHEMA {DECLARED}")
        connection.exec_driver_sql(f'SET LOCAL search_path = {DECLARED}, "{schema}"')
        metadata.create_all(connection, checkfirst=False)
        declared = _definitions(connection, DECLARED)
        savepoint.rollback()
    return [
        Difference(*part, found.get(part), declared.get(part))
        # Indexes and constraints are last, as they need the columns.
        for part in sorted(
            found.keys() | declared.keys(), key=lambda one: (one[0] in REPLACED, one)
        )
        if found.get(part) != declared.get(part)
    ]


def _definitions(connection: Connection, schema: str) -> dict[tuple[str, str, str], str]:
    """Return the definition of each part of a schema, by its kind, table and name."""
    return {
        (row.kind, row.table_name, row.name): str(row.definition)
        for row in connection.exec_driver_sql(CATALOG, {"schema": schema})
        if row.name not in retired_columns(row.table_name)
    }
