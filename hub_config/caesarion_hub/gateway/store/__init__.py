"""
The store: what was asked, what was spent, and what does the audit log say?

One write queue in front of one ledger, in SQLite or PostgreSQL. Modules, from top to bottom::

    write_queue          batches of commands, from the event loop to the ledger's thread
    ledger               one transaction for each batch of commands
    admission            which requests may start, and what each reserves
    snapshot             what they are decided on: spending, and requests under way
    settlements          what a request used, added to the sums
    audit_verification   whether the audit log is whole and unchanged
    audit_log            signed records in a hash chain
    audit_key            the key that signs the records
    commands             the commands, as plain values
    prepared             statements that run with every request
    tables               the tables, as the migrations leave them
    database             connections, transactions, migrations
"""
