<%
    import re

    def resources(statements):
        """The triggers of each table that is created with a key of one column."""
        tables = re.findall(r"op\.create_table\(\s*[\"'](\w+)[\"'](.*?)\n    \)", statements or "", re.S)
        found = {}
        for name, columns in tables:
            for key in re.findall(r"PrimaryKeyConstraint\([\"'](\w+)[\"'](?:, name=[^\n]*)?\)", columns):
                is_id = key == "id" and re.search(r"Column\(.id., sa\.(BigInteger|BIGINT)\(\)", columns)
                has_time = re.search(r"Column\(.created_at.,", columns)
                found[name] = {
                    **({"count_rows_of": f'"{name}"'} if is_id and has_time else {}),
                    **({"forget_responses_of": f'"{name}"'} if is_id else
                       {"forget_responses_by_key": f'"{name}", "{key}"'}),
                }
        return found

    def without_id_range(statements):
        """count_rows_of makes that constraint."""
        counted = [name for name, made in resources(statements).items() if "count_rows_of" in made]
        ranges = "|".join(f"{name}_id_range" for name in counted) or "(?!)"
        return re.sub(rf"\n *sa\.CheckConstraint\([^\n]*({ranges})[\"']\)+,?", "", statements or "pass")

    created, dropped = resources(upgrades), resources(downgrades)
    triggers = sorted({one for made in (created, dropped) for names in made.values() for one in names})
%>\
${"r" if "\\" in message else ""}"""${message.replace('"""', "'''")}."""

import sqlalchemy as sa
from alembic import op
% if imports:
${imports}
% endif
% if triggers:

from migrations.triggers import ${", ".join(triggers)}
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
% for one in made.values():
% for trigger, arguments in one.items():
    ${trigger}(${arguments})
% endfor
% endfor
% for table in gone:
    op.execute("DELETE FROM row_counts WHERE table_name = '${table}'")
    op.execute("DELETE FROM idempotency_keys WHERE path = '/${table}'")
% endfor
</%def>\
