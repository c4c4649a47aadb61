"""What there is to test, read from the folders and the models: nothing is listed by hand."""

from pathlib import Path

from sqlalchemy import Table

from blog.database.models import Base

ROOT = Path(__file__).parents[1]
FUNCTIONS = ROOT / "functions"

FUNCTION_NAMES = sorted(handler.parent.name for handler in FUNCTIONS.glob("*/handler.py"))
"""Every Lambda function."""
ROUTED = sorted(routes.parent.name for routes in FUNCTIONS.glob("*/routes.py"))
"""The functions with HTTP routes."""
RESOURCES = [name for name in ROUTED if name in Base.metadata.tables]
"""The functions that serve a table, which has their name."""
RESOURCE_TABLES: list[Table] = [Base.metadata.tables[name] for name in RESOURCES]

EMPTY = (
    f"TRUNCATE {', '.join(table.name for table in Base.metadata.sorted_tables)} RESTART IDENTITY"
)
"""The statement that empties the database."""
