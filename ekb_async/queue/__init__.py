"""Jobs of a paced call, bulk streams, and counts.

May import `files`, `client`, `pacing`, `protocol` and below.
Start with `paced`, then `jobs`.
"""
