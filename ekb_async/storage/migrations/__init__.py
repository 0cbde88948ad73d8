"""Numbered migrations of the databases, one SQL file for each version.

May import nothing of the package. Start with `steps`; a new version is a new file, and no file is changed afterwards.
Those of PostgreSQL are applied again, from the second on, when a table that was lost has been created.
"""
