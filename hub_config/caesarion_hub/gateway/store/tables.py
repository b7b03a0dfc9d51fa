"""
The tables of the gateway's database, as the migrations leave them.

Used by all of the store and by the pages. Times are whole milliseconds since 1970, days
are ISO dates in UTC, money is whole billionths of a dollar.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

metadata = MetaData()

# In the order of code points, as in SQLite and Python, whatever the database's locale: names
# are searched by their beginning, as a range, and the usual locales order them otherwise.
NAME = String(255).with_variant(String(255, collation="C"), "postgresql")


def insert(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an insert with ``on_conflict_do_update``, which each dialect has of its own."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


request = Table(
    "request",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("replica", String(32), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("finished", BigInteger),  # NULL while the answer is under way
    Column("user", NAME, nullable=False),
    Column("server", String(255), nullable=False),
    Column("groups", Text, nullable=False),  # a JSON list
    Column("model", String(255), nullable=False),
    Column("upstream", String(255), nullable=False),
    Column("conversation", String(255), nullable=False),
    Column("message", String(255), nullable=False),
    Column("reserved_tokens", BigInteger, nullable=False),
    Column("reserved_nanos", BigInteger),  # NULL if the model has no price
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("nanos", BigInteger),  # NULL if the model has no price
    Column("first_ms", Integer),  # NULL without a first word
    Column("total_ms", Integer),
    Column("status", Integer, nullable=False),  # HTTP's; 499 for a client that went away
    Column("error", String(64), nullable=False),
    Column("finish_reason", String(64), nullable=False),
    Column("calls", Integer, nullable=False),
)
Index("request_started", request.c.started)
Index("request_user_started", request.c.user, request.c.started)
_FAILED = text("error <> ''")
Index("request_failed", request.c.started, sqlite_where=_FAILED, postgresql_where=_FAILED)
_OPEN = text("finished IS NULL")
Index("request_open", request.c.user, sqlite_where=_OPEN, postgresql_where=_OPEN)

spending = Table(
    "spending",
    metadata,
    Column("period", String(5), primary_key=True),  # day or month
    Column("start", String(10), primary_key=True),  # its first day
    Column("scope", String(8), primary_key=True),  # user, group or everyone
    Column("name", NAME, primary_key=True),
    Column("model", NAME, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("nanos", BigInteger, nullable=False),
    Column("unpriced_tokens", BigInteger, nullable=False),
)
Index("spending_name", spending.c.scope, spending.c.name, spending.c.period, spending.c.start)

# Counted, not listed: a client that retries forever must not fill the database.
refusal = Table(
    "refusal",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("user", NAME, primary_key=True),
    Column("code", String(64), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("model", String(255), nullable=False),  # the last one's, as its message is
    Column("message", Text, nullable=False),
)
Index("refusal_last", refusal.c.last)

budget_edit = Table(
    "budget_edit",
    metadata,
    Column("scope", String(8), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("window", String(5), primary_key=True),
    Column("tokens", BigInteger),
    Column("nanos", BigInteger),  # both NULL: the budget was deleted
    Column("edited", BigInteger, nullable=False),
    Column("editor", String(255), nullable=False),
)

replica = Table(
    "replica",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("seen", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("made", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("user", NAME, nullable=False),
    Column("conversation", NAME, nullable=False),
    Column("call", NAME, nullable=False),
    Column("record", Text, nullable=False),  # JSON, exactly as it was hashed
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("call_number", BigInteger),  # for an outcome: its call's record
    Column("signature", String(88)),  # Base64; NULL without a key
)
Index("audit_user", audit.c.user, audit.c.number)
Index(
    "audit_call",
    *(audit.c.user, audit.c.call, audit.c.kind, audit.c.call_number, audit.c.number),
)
Index("audit_kind", audit.c.kind, audit.c.number)
Index("audit_made", audit.c.made)
Index("audit_conversation", audit.c.conversation, audit.c.number)
