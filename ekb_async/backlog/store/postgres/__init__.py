"""A backlog in a PostgreSQL database, which several hosts share.

May import `backlog.store`, `storage` and below.
Start with `store`, then `sql`.
"""
