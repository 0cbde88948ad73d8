"""Background tasks with an owner, and batching of callers that each want a single key.

May import `redaction` and `errors`.
Start with `tasks`, then `batcher`.
"""
