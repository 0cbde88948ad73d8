"""Structured tasks, and callers of single keys that share requests.

May import `redaction` and `errors`.
Start with `tasks`, then `batcher`.
"""
