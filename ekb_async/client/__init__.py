"""The HTTP transport, one call through its attempts, with a token, and hooks.

May import `tokens`, `protocol`, `config` and below.
Start with `attempt`, then `transport`.
"""
