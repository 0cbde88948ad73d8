"""`EkbSession` and `TenantSessions`: all that users call, with downloads, hooks and metrics.

May import `queue`, `files`, `client` and below.
Start with `session`, then `engine`.
"""
