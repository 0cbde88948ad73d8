"""The classes that users call: `EkbSession` and `TenantSessions`, with downloads and metrics.

May import `queue`, `files`, `client` and below.
Start with `session`, then `paid_calls` and `engine`.
"""
