"""What lies under state that outlives a process: SQLite, PostgreSQL, leases, atomic files, the state directory.

May import `validation`, `aio`, `redaction` and `errors`.
Start with `postgres` and `sqlite_thread`.
"""
