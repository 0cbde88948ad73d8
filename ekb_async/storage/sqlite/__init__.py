"""SQLite: its thread, statements, errors, and the small files of a user's state.

May import the rest of `storage`, and what that may import.
Start with `statements`, then `thread`.
"""
