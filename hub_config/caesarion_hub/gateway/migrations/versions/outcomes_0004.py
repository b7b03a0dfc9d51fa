"""Let an outcome in the audit name its call's record: ids of calls repeat."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_COLUMNS = ("number", "kind", "user", "call", "call_number")


def upgrade() -> None:
    """Add the column, look up calls and outcomes of an id by one index, and fill it."""
    op.add_column("audit", sa.Column("call_number", sa.BigInteger(), nullable=True))
    op.drop_index("audit_call", "audit")
    op.create_index("audit_call", "audit", ["user", "call", "kind", "call_number", "number"])
    audit = sa.table("audit", *(sa.column(name) for name in _COLUMNS))
    call = audit.alias()
    latest = (
        sa.select(sa.func.max(call.c.number))
        .where(call.c.user == audit.c.user, call.c.call == audit.c.call)
        .where(call.c.kind == "call", call.c.number < audit.c.number)
    )
    named = sa.update(audit).where(audit.c.kind == "outcome")
    op.execute(named.values(call_number=latest.scalar_subquery()))
