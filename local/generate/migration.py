"""A migration to what the models declare: `python -m local.generate.migration "comments of posts"`.

Alembic's autogenerate compares the models with an ephemeral database at the latest revision. A new
table gets the triggers of a resource's. Read the file before you commit it.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, make_url

from local.services import running_services
from migrations.handler import alembic_config


def main() -> None:
    message = " ".join(sys.argv[1:]).strip()
    if not message:
        sys.exit("say what the migration does: make migration MESSAGE='Comments of posts'")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_services(Path(folder), ephemeral=True) as services,
    ):
        url = make_url(services.database_url).set(drivername="postgresql+psycopg")
        _write(message, create_engine(url))


def _write(message: str, engine: Engine) -> None:
    with engine.connect() as connection:
        config = alembic_config(connection)
        command.upgrade(config, "head")
        head = ScriptDirectory.from_config(config).get_current_head()
        assert head is not None
        command.revision(config, message, autogenerate=True, rev_id=f"{int(head) + 1:04}")
    engine.dispose()


if __name__ == "__main__":
    main()
