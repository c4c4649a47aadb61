"""The table of operations and roles in docs/api.md, derived from the routes and their permissions.

`python -m local.generate.permissions` writes it; a test fails when it is not current.
"""

from collections.abc import Iterator
from pathlib import Path

from local.generate.openapi import merged_openapi
from shared.auth.permissions import ROLES, Grant, grant_of
from shared.http.route import PERMISSION

API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"
HEADER = f"| operation | permission | {' | '.join(ROLES)} |\n"
WORDS = {Grant.NONE: "none", Grant.OWN: "own", Grant.ALL: "all"}


def permissions_table() -> str:
    """Return the table in Markdown, in the order of the OpenAPI document."""
    return f"{HEADER}|{'---|' * (2 + len(ROLES))}\n" + "".join(_rows())


def _rows() -> Iterator[str]:
    for path in merged_openapi()["paths"].values():
        for operation in path.values():
            if permission := operation.get(PERMISSION):
                cells = " | ".join(WORDS[grant_of(permission, role)] for role in ROLES)
                yield f"| `{operation['operationId']}` | `{permission}` | {cells} |\n"


def with_table(page: str) -> str:
    """Return the page with the present table in place of its own."""
    before, _, rest = page.partition(HEADER)
    _, _, after = rest.partition("\n\n")
    return f"{before}{permissions_table()}\n{after}"


if __name__ == "__main__":
    text = with_table(API_PAGE.read_text(encoding="utf-8"))
    API_PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {API_PAGE}")
