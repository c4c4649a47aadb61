<%
    import re
    created = re.findall(r"op\.create_table\(\s*[\"'](\w+)", upgrades or "")
    # count_rows_of makes the constraint of the ids.
    statements = re.sub(r"\n *sa\.CheckConstraint\([^\n]*_id_range[\"']\),?", "", upgrades or "pass")
%>\
"""${message}."""

import sqlalchemy as sa
from alembic import op
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
