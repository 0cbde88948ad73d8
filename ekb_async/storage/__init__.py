"""Storage of state that outlives a process: SQLite, PostgreSQL, leases, atomic files, the state directory.

May import `models`, `aio`, `validation` and the rooms below them.
Start with `statements`, then `sqlite` and `postgres`.
"""
