"""The SQL statements of a backlog in a database; `store.sqlite.sql` has the same modules and names.

Imports nothing but names of locks. Start with `call_sql`.
"""
