"""The classes that users call: `EkbSession` and `TenantSessions`, with downloads, hooks and metrics.

May import `queue`, `files`, `client` and below.
Start with `session`, then `engine`.
"""
