"""The HTTP transport, and one call through its attempts, with a token.

May import `tokens`, `protocol`, `config` and below.
Start with `attempt`, then `transport`.
"""
