"""Counts per day, month and finding; `store` fills them from the projections after the upgrade."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Apply."""
    op.add_column("register", sa.Column("counts", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "finding",
        sa.Column("key", NUMBER, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("day", "hook", "service", "client", "payer")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("policy", "version", "rule", "outcome", "reason")),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tally",
        sa.Column("key", NUMBER, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("measure", "period", "hook", "service", "client")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("payer", "policy", "version", "rule", "label")),
        sa.Column("shard", sa.SmallInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("total", sa.Float, nullable=False),
    )
