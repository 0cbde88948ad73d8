"""The results of the rows: tasks, exports and the report.

May import `backlog.store`, `backlog.input` and below.
Start with `tasks`.
"""
