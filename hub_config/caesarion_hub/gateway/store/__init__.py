"""
The store: what was asked, what was spent, and what does the audit log say?

One write queue in front of one ledger, in SQLite or PostgreSQL.
"""
