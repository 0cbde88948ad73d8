"""The SQL statements of a backlog file; `store.postgres.sql` has the same modules and names.

Imports nothing. Start with `call_sql`.
"""
