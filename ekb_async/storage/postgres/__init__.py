"""A PostgreSQL database that hosts share: its connections, the lease of a run, the tables and their versions.

May import the rest of `storage`, and what that may import.
Start with `database`, then `lease`.
"""
