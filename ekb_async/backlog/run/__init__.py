"""Makes the calls of a backlog: claims, outages, unknown staff IDs, progress.

May import `backlog.store`, `backlog.input`, `session` and below.
Start with `run`, then `tenant_worker` and `calls.stored_calls`.
"""
