<%
    import re

    def resources(statements):
        """The tables that are created with both columns that the triggers of a resource's need."""
        tables = re.findall(r"op\.create_table\(\s*[\"'](\w+)[\"'](.*?)\n    \)", statements or "", re.S)
        return [name for name, columns in tables if re.search(r"Column\(.id.,", columns)
                and re.search(r"Column\(.created_at.,", columns)]

    def without_id_range(statements):
        """count_rows_of makes that constraint."""
        return re.sub(r"\n *sa\.CheckConstraint\([^\n]*_id_range[\"']\)+,?", "", statements or "pass")

    created, dropped = resources(upgrades), resources(downgrades)
%>\
"""${message}."""

import sqlalchemy as sa
from alembic import op
% if imports:
${imports}
% endif
% if created or dropped:

from migrations.triggers import count_rows_of, forget_responses_of
% endif

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${without_id_range(upgrades)}
${rows_of(created, dropped)}\


def downgrade() -> None:
    ${without_id_range(downgrades)}
${rows_of(dropped, created)}\
<%def name="rows_of(made, gone)">\
% for table in made:
    count_rows_of("${table}")
    forget_responses_of("${table}")
% endfor
% for table in gone:
    op.execute("DELETE FROM row_counts WHERE table_name = '${table}'")
    op.execute("DELETE FROM idempotency_keys WHERE path = '/${table}'")
% endfor
</%def>\
