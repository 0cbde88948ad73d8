"""The queue of a rate-limited call, its jobs and their counts, and bulk streams.

May import `files`, `client`, `pacing`, `protocol` and below.
Start with `states`, then `paced` and `jobs`.
"""
