"""The file of a call: its source, its upload, and its download URL, fetched just in time.

May import `client`, `protocol`, `models` and below.
Start with `urls`.
"""
