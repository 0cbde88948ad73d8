"""The life of an access token, and the stores in which sessions and processes share it.

May import `protocol`, `storage`, `config`, `models`, `aio`, `validation` and below, nothing of `pacing`.
Start with `life`, then `store`.
"""
