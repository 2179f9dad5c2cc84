"""Records, their chains and seals, tokens, explanations, and the de-identified projections."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Apply."""
    _chains()
    _entries()
    _answers()
    _cards()
    _feedback()


def _chains() -> None:
    op.create_table(
        "register",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("chains", sa.Integer, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("mac", sa.Text, nullable=False),
    )
    op.create_table(
        "chain",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("open_first", sa.BigInteger, nullable=False),
        sa.Column("open_previous", sa.Text, nullable=False),
        sa.Column("open_since", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.Text, nullable=False),
    )
    op.create_table(
        "segment",
        sa.Column("chain", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("received_first", sa.BigInteger, nullable=False),
        sa.Column("received_last", sa.BigInteger, nullable=False),
        sa.Column("pruned", sa.BigInteger),
        sa.Column("mac", sa.Text, nullable=False),
    )


def _entries() -> None:
    op.create_table(
        "entry",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("chain", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "token",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "explanation",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _answers() -> None:
    op.create_table(
        "answer",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("client", sa.Text),
        sa.Column("payer", sa.Text),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("latency", sa.Float, nullable=False),
        sa.Column("cards", sa.Integer, nullable=False),
        sa.Column("silent", sa.Integer, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
    )
    op.create_table(
        "determination",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("policy", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("rule", sa.Text),
        sa.Column("role", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("prior_authorization", sa.Text),
        sa.Column("payer", sa.Text),
        sa.Column("missing", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )


def _cards() -> None:
    op.create_table(
        "card",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("uuid", sa.Text, nullable=False, unique=True),
        sa.Column("finding", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("indicator", sa.Text, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("rule", sa.Text),
        sa.Column("shown", sa.Boolean, nullable=False),
        sa.Column("suggestions", sa.Text, nullable=False),
        sa.Column("override_reasons", sa.Text, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("client", sa.Text),
        sa.Column("payer", sa.Text),
        sqlite_with_rowid=False,
    )


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("card", sa.Text, nullable=False, index=True),
        sa.Column("finding", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("suggestions", sa.Text, nullable=False),
        sa.Column("reason_system", sa.Text),
        sa.Column("reason_code", sa.Text),
        sa.Column("reason_display", sa.Text),
        sa.Column("reason_offered", sa.Boolean),
        sa.Column("commented", sa.Boolean, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("rule", sa.Text),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("client", sa.Text),
        sa.Column("payer", sa.Text),
    )
