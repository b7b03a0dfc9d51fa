"""Order names by code points in PostgreSQL: a range of names is a search by their beginning."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NAMES = (
    *(("request", "user"), ("spending", "name"), ("spending", "model"), ("refusal", "user")),
    *(("budget_edit", "name"), ("audit", "user"), ("audit", "conversation"), ("audit", "call")),
)


def upgrade() -> None:
    """Give the columns the collation C, with their indexes; SQLite has no other order."""
    if op.get_context().dialect.name == "postgresql":
        for table, column in _NAMES:
            op.alter_column(table, column, type_=sa.String(255, collation="C"))
