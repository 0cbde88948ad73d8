"""The HTTP transport, and one attempt of a call with a token.

May import `tokens`, `protocol`, `config` and below.
Start with `attempt`, then `transport`.
"""
