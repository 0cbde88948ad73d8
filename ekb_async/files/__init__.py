"""A call's file: what kind of source it is, uploads, and download URLs fetched just in time.

May import `client`, `protocol`, `models` and below.
Start with `urls`.
"""
