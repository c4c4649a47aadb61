"""The guards of a statement: conditions in its WHERE on the row's owner and version.

`ownership` has the one (the row is the caller's own), `versions` the other (If-Match allows its
version). If a statement matched no row, its other conditions find the row, and the guards tell why
it was not written. All of this is derived from the statement, once.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Delete, Executable, Select, Update, and_, select, true

from shared.conditions import Conditions
from shared.database.ownership import (
    SUBJECT,
    columns_in,
    conditions_on_caller,
    has_parameter,
    names_caller,
    owner_values,
)
from shared.database.statements import KNOWN_STATEMENTS, conjuncts, set_by
from shared.database.versions import ALLOWED, condition_values
from shared.request import Access

IS_OWN = "_is_own"


@lru_cache(KNOWN_STATEMENTS)
def checks_conditions(statement: Executable) -> bool:
    """Whether a statement has the condition `versions.meets_conditions`."""
    return has_parameter(statement, ALLOWED.key)  # type: ignore[arg-type]


def guard_values(
    statement: Executable, access: Access, conditions: Conditions
) -> dict[str, object]:
    """Return the values of the parameters of the statement's guards."""
    values = owner_values(access) if names_caller(statement) else {}
    return values | condition_values(conditions) if checks_conditions(statement) else values


@lru_cache(KNOWN_STATEMENTS)
def target_of(statement: Update | Delete) -> Select[bool]:
    """Return a query that finds the row without the guards: whether it is the caller's own."""
    conditions = conjuncts(statement.whereclause)
    owned = conditions_on_caller(statement.whereclause)
    guards = (SUBJECT.key, ALLOWED.key)
    rest = [one for one in conditions if not any(has_parameter(one, name) for name in guards)]
    return select(and_(true(), *owned)).select_from(statement.table).where(*rest)


@lru_cache(KNOWN_STATEMENTS)
def returning_own(statement: Update) -> Update:
    """Return the update, extended to return whether its row is still the caller's own."""
    owned = conditions_on_caller(statement.whereclause)
    return statement.returning(and_(true(), *owned).label(IS_OWN))


def sets_own(statement: Executable, values: Mapping[str, object]) -> bool:
    """Whether an update, with these values, sets a column of its conditions on the caller."""
    if not isinstance(statement, Update):
        return False
    names = columns_in(conditions_on_caller(statement.whereclause), statement.table)
    return not names.isdisjoint(set_by(statement).keys() | values.keys())


@lru_cache(KNOWN_STATEMENTS)
def unchanged_row_of(statement: Update) -> Select[*tuple[Any, ...]]:
    """Return a query of the row that an update without columns would return, with the guards."""
    assert statement.whereclause is not None
    return select(*statement.exported_columns).where(statement.whereclause)


def sets_nothing(update: Update, values: Mapping[str, object]) -> bool:
    """Whether the update, with these values, has no column to set."""
    return not set_by(update) and values.keys().isdisjoint(update.table.c.keys())
