"""The life of an access token, and where it is kept between sessions and processes.

May import `protocol`, `storage`, `config`, `models`, `aio`, `validation` and below.
Start with `life`, then `store`.
"""
