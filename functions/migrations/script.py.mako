<%
    import re
    tables = re.findall(r"op\.create_table\(\s*[\"'](\w+)[\"'](.*?)\n    \)", upgrades or "", re.S)
    # Only a table with both columns can have the triggers of a resource's.
    created = [name for name, columns in tables if re.search(r"Column\(.id.,", columns)
               and re.search(r"Column\(.created_at.,", columns)]
    # count_rows_of makes the constraint of the ids.
    statements = re.sub(r"\n *sa\.CheckConstraint\([^\n]*_id_range[\"']\),?", "", upgrades or "pass")
%>\
"""${message}."""

import sqlalchemy as sa
from alembic import op
% if imports:
${imports}
% endif
% if created:

from migrations.triggers import count_rows_of, forget_responses_of
% endif

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${statements}
% for table in created:
    count_rows_of("${table}")
    forget_responses_of("${table}")
% endfor


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
% for table in created:
    op.execute("DELETE FROM row_counts WHERE table_name = '${table}'")
% endfor
