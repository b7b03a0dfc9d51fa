"""Sign the audit's records; those that are there stay unsigned."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.add_column("audit", sa.Column("signature", sa.String(88), nullable=True))
