"""What a CRD answer asserted of an order, for the guide's metrics; `recount` fills it from the documents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("determination", sa.Column("asserted", sa.Text, nullable=False, server_default=""))
