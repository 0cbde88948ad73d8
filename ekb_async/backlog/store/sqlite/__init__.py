"""A backlog in an SQLite file: schema, opening, claims, answers, and the check that it is still the same file.

May import `backlog.store`, `storage` and below.
Start with `store`, then `sql`.
"""
